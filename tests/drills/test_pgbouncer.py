"""The service works through PgBouncer in transaction mode."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import psycopg2
import pytest

from tests.support.credentials import PASSWORD
from tests.support.database import run_sql
from tests.support.drills import SHORT
from tests.support.faults import RECOVERY, SLEEP, assert_kept, holding, recovered
from tests.support.load import Client, Load, wait_for
from tests.support.postgres import Postgres, as_server_user
from tests.support.service import ROOT, Service, free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")

FUNCTIONAL = (
    "tasks",
    "idempotency",
    "concurrency",
    *(() if SHORT else ("lists", "accounts", "access_tokens", "sessions", "refresh")),
)
# Defaults of the server that differ from the settings of the service.
DEFAULTS = {"TimeZone": "Asia/Kathmandu", "statement_timeout": "1h", "lock_timeout": "50min"}
SERVER_CONNECTIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'taskflow'"
SETTINGS = f"""
SELECT pg_backend_pid(), ARRAY[{", ".join(f"current_setting('{name}')" for name in DEFAULTS)}]
"""


class PgBouncer:
    """PgBouncer on a port of its own, with a limited number of connections to a server."""

    def __init__(self, server: Postgres, pool_size: int, **settings: str) -> None:
        self.port = free_port()
        self._file = server.folder / "pgbouncer.ini"
        values = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "logfile": server.folder / "pgbouncer.log",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": pool_size,
            "server_login_retry": 1,  # by default it waits for 15 s before it tries again
            **settings,
        }
        lines = [f"{name} = {value}" for name, value in values.items()]
        target = f"* = host=127.0.0.1 port={server.port} user=postgres"
        self._file.write_text("\n".join(["[databases]", target, "[pgbouncer]", *lines, ""]))
        self.start()

    def url(self, database: str = "taskflow") -> str:
        """Return the URL of a database behind PgBouncer."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start PgBouncer as a user other than root, and wait until it accepts connections."""
        self._process = subprocess.Popen(
            [str(PROGRAM), "-q", self._file], cwd="/", **as_server_user()
        )
        wait_for(self._takes_connections, 10)

    def _takes_connections(self) -> bool:
        try:
            psycopg2.connect(self.url("pgbouncer")).close()  # its console
        except psycopg2.OperationalError:
            assert self._process.poll() is None
            return False
        return True

    def stop(self) -> None:
        """Stop PgBouncer at once."""
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """Return a PostgreSQL server whose defaults differ from the service's settings."""
    server = Postgres(**DEFAULTS)
    try:
        yield server.create()
    finally:
        server.remove()


@pytest.fixture
def bounce(postgres: Postgres) -> Iterator[Callable[..., PgBouncer]]:
    """Return a function that starts PgBouncer, and stop it after the drill."""
    with ExitStack() as stack:

        def start(pool_size: int, **settings: str) -> PgBouncer:
            bouncer = PgBouncer(postgres, pool_size, **settings)
            stack.callback(bouncer.stop)
            return bouncer

        yield start


def test_the_api_tests_pass_through_pgbouncer(
    bounce: Callable[..., PgBouncer], figures: Any
) -> None:
    env = {**os.environ, "TEST_DATABASE_URL": bounce(pool_size=3).url("postgres")}
    files = [f"tests/api/test_{name}.py" for name in FUNCTIONAL]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    figures(outcome=done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "ignored",
    ["extra_float_digits", "extra_float_digits,options"],
    ids=["options are passed on", "options are ignored"],
)
def test_statements_run_with_the_settings_of_the_service(
    ignored: str,
    postgres: Postgres,
    bounce: Callable[..., PgBouncer],
    serve: Callable[..., Service],
    figures: Any,
) -> None:
    bouncer = bounce(pool_size=3, ignore_startup_parameters=ignored)
    run_sql(postgres.url(), SLEEP)
    service = serve(bouncer.url(), DB_STATEMENT_TIMEOUT="0.5")
    passwords = {"currentPassword": PASSWORD, "newPassword": "another horse battery"}
    with closing(Load(service.port, clients=1)) as load:
        [client] = load.clients
        due = {"title": "x", "dueDate": "2030-01-01T00:00:00+05:45"}
        _, task = load.send(client, "POST", "/api/v1/tasks", due)
        path = f"/api/v1/tasks/{task['id']}"
        load.send(client, "POST", "/api/v1/tasks", {"title": "slow"})
        with holding(postgres, "LOCK TABLE tasks"):
            load.send(client, "GET", path)
        with holding(postgres, "LOCK TABLE sessions IN SHARE MODE"):
            load.send(client, "PUT", "/api/v1/auth/password", passwords)
        load.send(client, "GET", path)
    figures(load.record)
    assert task["createdAt"].endswith("+00:00")
    assert task["dueDate"] == "2029-12-31T18:15:00.000000+00:00"
    _, *cut_off, _ = load.record.answers
    assert [(a.status, a.code) for a in cut_off] == [(503, "query_timeout")] * 3
    assert all(0.4 < a.seconds < 4 for a in cut_off)
    assert load.record.statuses() == {201: 1, 503: 3, 200: 1}


def test_nothing_leaks_from_one_client_to_another(
    postgres: Postgres,
    bounce: Callable[..., PgBouncer],
    serve: Callable[..., Service],
    figures: Any,
) -> None:
    bouncer = bounce(pool_size=2)
    service = serve(bouncer.url())

    def use(load: Load, client: Client) -> set[str]:
        """Create and list tasks, and return the users that were seen."""
        seen = set()
        for number in range(10 if SHORT else 80):
            load.send(client, "POST", "/api/v1/tasks", {"title": str(number)})
            _, page = load.send(client, "GET", "/api/v1/tasks?limit=100")
            assert len(page["data"]) == number + 1
            _, user = load.send(client, "GET", "/api/v1/auth/me")
            seen |= {user["id"], *(task["userId"] for task in page["data"])}
        return seen

    with closing(Load(service.port)) as load, ThreadPoolExecutor(len(load.clients)) as threads:
        users = list(threads.map(partial(use, load), load.clients))
    servers = [pid for (pid,) in run_sql(postgres.url(), SERVER_CONNECTIONS)]
    figures(load.record, server_connections=len(servers))
    assert [len(seen) for seen in users] == [1] * len(load.clients)
    assert len(set.union(*users)) == len(load.clients)
    assert len(servers) == 2
    with ExitStack() as stack:  # concurrent transactions have connections of their own
        rows = []
        for _ in servers:
            conn = stack.enter_context(closing(psycopg2.connect(bouncer.url())))
            cursor = stack.enter_context(conn.cursor())
            cursor.execute(SETTINGS)
            rows += cursor.fetchall()
    assert dict(rows) == {pid: list(DEFAULTS.values()) for pid in servers}


def test_the_service_survives_restarts_of_pgbouncer_and_postgresql(
    postgres: Postgres,
    bounce: Callable[..., PgBouncer],
    serve: Callable[..., Service],
    figures: Any,
) -> None:
    bouncer = bounce(pool_size=3)
    service = serve(bouncer.url())
    restarts: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (bouncer.stop, bouncer.start),
        (partial(postgres.stop, "fast"), postgres.start),
        (partial(postgres.stop, "immediate"), postgres.start),
    ]
    took = []
    with Load(service.port) as load:
        for stop, start in restarts * (1 if SHORT else 4):
            time.sleep(0.5)
            stop()
            time.sleep(0.5 if SHORT else 2)
            start()
            took.append(wait_for(recovered(load.record, time.monotonic()), RECOVERY))
    assert_kept(load.record, postgres, figures, slowest_recovery=max(took))
