"""The service starts as the Procfile says, or reports in one line why it does not."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from itertools import chain
from pathlib import Path
from threading import Thread
from urllib.request import Request, urlopen

import psutil
import psycopg2
import pytest

from taskflow.config import VERSION, Config, ConfigError, load_config
from taskflow.database.connection import connection_parameters
from tests.support.credentials import PASSWORD, SECRET
from tests.support.database import run_sql
from tests.support.service import (
    ROOT,
    Service,
    buffered_only,
    free_port,
    procfile,
    production_env,
    run,
    serving,
)

PRODUCTION = {"DATABASE_URL": "postgresql://db.example/taskflow", "JWT_SECRET": SECRET}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        pytest.param("DATABASE_URL", "", id="DATABASE_URL-empty"),
        ("DATABASE_URL", "mysql://db/taskflow"),
        ("DATABASE_URL", "postgresql://u:p%zz@db/taskflow"),
        ("DATABASE_URL", "postgresql://u:p@ssword@db/taskflow"),
        ("DATABASE_URL", "postgresql://db:99999999/taskflow"),
        ("DATABASE_URL", "postgresql://db/taskflow?sslmode=bogus"),
        ("DATABASE_URL", "postgresql://db/taskflow?connect_timeout=abc"),
        pytest.param("DATABASE_URL", "postgresql://db/taskflow\udcff", id="DATABASE_URL-not UTF-8"),
        ("METRICS_TOKEN", "two words"),
        pytest.param("JWT_SECRET", "", id="JWT_SECRET-empty"),
        ("JWT_SECRET", "dev-secret"),
        pytest.param("JWT_SECRET", "x" * 31, id="JWT_SECRET-31 bytes"),
        ("JWT_SECRET_PREVIOUS", "dev-secret"),
        pytest.param("JWT_SECRET_PREVIOUS", "x" * 31, id="JWT_SECRET_PREVIOUS-31 bytes"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PORT", "3000 "),
        ("LOG_LEVEL", "loud"),
        ("DB_POOL_MIN", "11"),
        ("DB_POOL_MIN", "-1"),
        ("DB_POOL_MAX", "0"),
        ("DB_POOL_TIMEOUT", "0"),
        ("DB_POOL_TIMEOUT", "5s"),
        ("DB_POOL_TIMEOUT", "inf"),
        ("DB_STATEMENT_TIMEOUT", "-1"),
        ("MAX_TASKS_PER_USER", "many"),
        ("SESSION_MAX_DAYS", "0"),
        ("SESSION_MAX_DAYS", "3651"),
        ("SESSION_MAX_DAYS", "1.5"),
        ("COOKIE_SAMESITE", "Maybe"),
        ("RATE_LIMIT", "100"),
        ("RATE_LIMIT", "0/minute"),
        ("AUTH_RATE_LIMIT", "ten/minute"),
        ("RATE_LIMIT_STORAGE", "memcached://localhost"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "https://app.example.com/"),
        ("CORS_ORIGINS", "https://app.example.com,*"),
        ("TRUSTED_PROXIES", "1.5"),
        ("WEB_THREADS", "0"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "abc"),
        ("WEB_WORKER", "sync"),
        ("WEB_AFFINITY", "maybe"),
    ],
)
def test_an_invalid_value_prevents_the_start_and_names_its_variable(
    variable: str, value: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{variable} [^\n]*$"):
        load_config(production=True, environ={**PRODUCTION, variable: value})


@pytest.mark.parametrize(
    ("text", "level"),
    [("warn", "warning"), ("WARN", "warning"), ("Warning", "warning"), ("DEBUG", "debug")],
)
def test_a_log_level_may_be_abbreviated_and_in_any_case(text: str, level: str) -> None:
    config = load_config(production=True, environ={**PRODUCTION, "LOG_LEVEL": text})
    assert config.log_level == level


def test_the_defaults_match_the_contract() -> None:
    production = load_config(production=True, environ=PRODUCTION)
    development = load_config(production=False, environ={})
    assert development.database_url is None
    assert (development.jwt_secret, development.db_sslmode) == ("dev-secret", None)
    assert (development.log_level, production.log_level) == ("debug", "info")
    assert (development.trusted_proxies, production.trusted_proxies) == (0, 1)
    for config in (production, development):
        assert (config.port, config.web_threads) == (3000, 8)
        assert (config.jwt_issuer, config.jwt_audience) == ("taskflow", "taskflow-api")
        assert (config.db_pool_min, config.db_pool_max, config.db_pool_timeout) == (1, 10, 5)
        assert (config.db_statement_timeout, config.max_tasks_per_user) == (5, 1000)
        assert (config.cookie_samesite, config.session_max_days) == ("Strict", 90)


def test_production_requires_tls_to_the_database_by_default() -> None:
    for environ, sslmode in (
        ({}, "require"),
        ({"DATABASE_URL": "postgres://db.example/x?sslmode=verify-full"}, "verify-full"),
        ({"PGSSLMODE": "disable"}, None),  # libpq reads it itself
    ):
        config = load_config(production=True, environ={**PRODUCTION, **environ})
        assert connection_parameters(config).get("sslmode") == sslmode


@pytest.mark.parametrize("process", ["web", "release"])
def test_an_invalid_configuration_ends_each_process_with_one_line(process: str) -> None:
    done = run(procfile(process), production_env("postgresql://db/x", JWT_SECRET="short"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "taskflow: JWT_SECRET must have 32 bytes or more in production\n"


def test_the_release_can_run_repeatedly_and_concurrently(
    empty_database: Callable[[], str],
) -> None:
    url = empty_database()
    for round_ in range(2):
        releases = [
            subprocess.Popen(
                procfile("release").split(),
                cwd=ROOT,
                env=production_env(url),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(4)
        ]
        outputs = [release.communicate(timeout=60)[0] for release in releases]
        assert [release.returncode for release in releases] == [0] * 4, outputs
        applied = [output for output in outputs if "applied 0001_initial" in output]
        assert len(applied) == (1 if round_ == 0 else 0)
        assert outputs.count("taskflow: no migration is missing\n") == 4 - len(applied)
        if round_ == 0:
            run_sql(url, "INSERT INTO users (email, email_key, password_hash) VALUES ('a','a','a')")
    assert run_sql(url, "SELECT email FROM users") == [("a",)]


def test_a_failed_release_reports_its_error_and_changes_nothing(
    empty_database: Callable[[], str],
) -> None:
    url = empty_database()
    run_sql(url, "CREATE TABLE tasks (id text)")
    done = run(procfile("release"), production_env(url))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("taskflow: release failed: ")
    assert done.stderr.count("\n") == 1
    assert run_sql(url, "SELECT to_regclass('users')") == [(None,)]
    nowhere = f"postgresql://user:hunter2@127.0.0.1:{free_port()}/taskflow"
    done = run(procfile("release"), production_env(nowhere))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Connection refused" in done.stderr
    assert "hunter2" not in done.stderr


def test_the_service_starts_without_its_database() -> None:
    with serving(f"postgresql://127.0.0.1:{free_port()}/taskflow") as service:
        assert service.get("/health/live")[:2] == (200, {"status": "healthy"})
        status, body, _ = service.get("/health")
        assert (status, body["status"]) == (503, "unhealthy")
        credentials = {"email": "a@example.com", "password": "whatever it is"}
        status, body, headers = service.request("POST", "/api/v1/auth/login", credentials)
        assert (status, body["error"]["code"]) == (503, "database_unavailable")
        assert int(headers["Retry-After"]) > 0


def test_a_database_without_the_schema_is_unhealthy(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    with serving(url) as service:
        assert service.get("/health")[0] == 503
        assert run(procfile("release"), production_env(url)).returncode == 0
        assert service.get("/health")[0] == 200


def test_the_web_process_logs_json_and_stops_gracefully(config: Config) -> None:
    service = Service(config.database_url or "")
    status, body, headers = service.get("/health", **{"X-Request-ID": "router-1"})
    assert (status, body["status"] != "unhealthy") == (200, True)
    assert headers["X-Correlation-ID"] == "router-1"
    assert headers["Strict-Transport-Security"]
    idle = HTTPConnection("127.0.0.1", service.port)  # stays open through the stop
    idle.request("GET", "/api/v1/tasks?secret=1")
    assert idle.getresponse().read()
    started = time.monotonic()
    lines = [json.loads(line) for line in service.stop()]
    assert time.monotonic() - started < 15  # waiting for the kept connection would take 28 s
    assert service.process.returncode == 0
    idle.close()
    assert {"gunicorn.error", "taskflow.request"} <= {line["logger"] for line in lines}
    [request] = [line for line in lines if line["logger"] == "taskflow.request"]
    assert request["path"] == "/api/v1/tasks"
    for line in lines:
        assert {"timestamp", "level", "message", "service", "correlationId"} <= set(line)


def cores_of(workers: list[int]) -> list[set[int]]:
    return [os.sched_getaffinity(worker) for worker in workers]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait up to ten seconds until a condition holds, because a worker may start slowly."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is only one core")
def test_each_worker_has_a_core_of_its_own_unless_told_otherwise(config: Config) -> None:
    for setting, cores in (("on", 1), ("off", len(os.sched_getaffinity(0)))):
        settings = {"WEB_CONCURRENCY": "2", "WEB_AFFINITY": setting}
        with serving(config.database_url or "", **settings) as service:
            workers = service.workers(2)
            wait_until(lambda ws=workers, n=cores: all(len(cpus) == n for cpus in cores_of(ws)))
            first, second = cores_of(workers)
            assert (first != second) == (setting == "on")


def test_a_request_in_flight_is_answered_before_the_process_ends(config: Config) -> None:
    service = Service(config.database_url or "", DB_STATEMENT_TIMEOUT="20")
    user = {"email": "flight@example.com", "password": "correct horse battery"}
    _, body, _ = service.request("POST", "/api/v1/auth/register", user)
    headers = {"Authorization": f"Bearer {body['accessToken']}"}
    answers: list[int] = []

    def create() -> None:
        status, _, _ = service.request("POST", "/api/v1/tasks", {"title": "x"}, headers)
        answers.append(status)

    with psycopg2.connect(config.database_url) as lock, lock.cursor() as cursor:
        cursor.execute("LOCK TABLE tasks")
        request = Thread(target=create)
        request.start()
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(2.5)
        assert answers == []
    lock.close()
    request.join()
    assert answers == [201]
    assert service.stop() is not None
    assert service.process.returncode == 0


def test_app_py_serves_the_api_and_prints_its_addresses(config: Config) -> None:
    port = free_port()
    env = {**production_env(config.database_url or "", PORT=str(port)), "JWT_SECRET": ""}
    del env["PGSSLMODE"]
    env["CORS_ORIGINS"] = "http://localhost:5173"
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        preexec_fn=partial(
            signal.signal, signal.SIGINT, signal.SIG_DFL
        ),  # background jobs may ignore it
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        origin = lines[2].removeprefix("Frontend: ").partition("/?")[0]
        assert lines == [
            f"API: http://localhost:{port}/api/v1\n",
            f"Docs: http://localhost:{port}/docs\n",
            f"Frontend: {origin}/?api=http://localhost:{port}\n",
        ]
        assert wait_for(f"http://localhost:{port}/health") == 200
        assert wait_for(f"{origin}/taskflow.js") == 200
        for allowed in (origin, env["CORS_ORIGINS"]):
            request = Request(f"http://localhost:{port}/health", headers={"Origin": allowed})
            with urlopen(request) as response:
                assert response.headers["Access-Control-Allow-Origin"] == allowed
        second = run(f"{sys.executable} app.py", env)
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert str(port) in second.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 0


def wait_for(url: str) -> int:
    """Return the status of the first answer within ten seconds."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with urlopen(url) as response:
                return response.status
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_project_and_the_service_have_the_same_version() -> None:
    assert f'version = "{VERSION}"' in (Path(ROOT) / "pyproject.toml").read_text()


@buffered_only
@pytest.mark.parametrize(
    ("descriptors", "served"),
    [(1000, 20), (5, 5)],
    ids=["enough descriptors", "5 descriptors left"],
)
def test_waiting_connections_are_served_when_the_process_stops(
    config: Config, descriptors: int, served: int
) -> None:
    service = Service(config.database_url or "")
    [pid] = service.workers()
    worker = psutil.Process(pid)
    worker.suspend()  # the kernel still accepts connections
    most = worker.num_fds() + descriptors
    worker.rlimit(psutil.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(closing(HTTPConnection("127.0.0.1", service.port, timeout=30)))
            for _ in range(20)
        ]
        for conn in waiting:
            conn.request("GET", "/health/live")
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)  # until the worker has the signal
        worker.resume()
        assert [conn.getresponse().status for conn in waiting[:served]] == [200] * served
        with pytest.raises(ConnectionError):  # a reset, if the connect came before the close
            service.get("/health/live")
    assert "Exception" not in "".join(service.stop())


def test_every_request_is_logged_once(config: Config) -> None:
    service = Service(config.database_url or "")
    asked = [[f"{client}-{number}" for number in range(15)] for client in range(8)]

    def ask(ids: list[str]) -> None:
        conn = HTTPConnection("127.0.0.1", service.port, timeout=30)
        for correlation_id in ids:
            conn.request("GET", "/api/v1/tasks", headers={"X-Correlation-ID": correlation_id})
            conn.getresponse().read()
        conn.close()

    clients = [Thread(target=ask, args=[ids]) for ids in asked]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    service.kill_a_worker()  # the lines of its requests were written before
    found = [json.loads(line) for line in service.stop()]
    logged = [line["correlationId"] for line in found if line["logger"] == "taskflow.request"]
    assert sorted(logged) == sorted(chain(*asked))


@buffered_only
def test_silent_clients_do_not_delay_other_requests(config: Config) -> None:
    with serving(config.database_url or "") as service:
        stalled = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(16)]
        for number, sock in enumerate(stalled):
            request = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n"
            body = b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            sock.sendall(request + body if number % 2 else request)
        started = time.monotonic()
        assert service.get("/health/live")[0] == 200
        assert time.monotonic() - started < 15
        for sock in stalled:
            sock.close()


@buffered_only
def test_clients_that_do_not_read_their_answers_delay_no_other_request(config: Config) -> None:
    with serving(config.database_url or "", WEB_THREADS="4") as service, ExitStack() as stack:
        credentials = {"email": "unread@example.com", "password": PASSWORD}
        _, session, _ = service.request("POST", "/api/v1/auth/register", credentials)
        bearer = {"Authorization": f"Bearer {session['accessToken']}"}
        tasks = [{"title": "x", "description": "😀" * 2000}] * 40
        for _ in range(12):
            service.request("POST", "/api/v1/tasks/batch", {"create": tasks}, bearer)
        path = "/api/v1/tasks/changes?limit=500"
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}"
        unread = []
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(30)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", service.port))
            sock.sendall(f"{request}\r\n\r\n".encode())
            unread.append(sock)
        time.sleep(2)  # until the threads have answered
        started = time.monotonic()
        assert service.get("/api/v1/tasks/summary", **bearer)[0] == 200
        assert time.monotonic() - started < 2
        response = HTTPResponse(unread[0])  # that reads late, and still gets all of its answer
        response.begin()
        assert len(json.loads(response.read())["changed"]) == 480
