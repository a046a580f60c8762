"""The pool loses no slot, hands out no dead connection, and repeats no write."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from flask import Flask

from taskflow.config import Config
from taskflow.database import Database
from taskflow.database.errors import UnforeseenDatabaseError
from taskflow.database.pool import FAILED_SECONDS, Pool
from taskflow.errors import ServiceError
from tests.support.assertions import assert_error
from tests.support.database import KILL, run_sql
from tests.support.load import wait_for
from tests.support.service import free_port
from tests.support.users import User


@pytest.fixture
def small(config: Config) -> Database:
    """Return a database with two connections and short waits."""
    return Database(replace(config, db_pool_max=2, db_pool_timeout=0.2, db_statement_timeout=0.3))


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ServiceError) as caught:
        call()
    return caught.value.code


@contextmanager
def held(database: Database, count: int) -> Iterator[None]:
    """Hold a number of connections, as other requests would."""
    for _ in range(count):
        database._slots.get_nowait()
    pool = database._open_pool()
    connections = [pool.checkout() for _ in range(count)]
    yield
    for conn in connections:
        pool.checkin(conn)
        database._slots.put(None)


def test_a_request_succeeds_after_its_idle_connection_was_killed(
    alice: User, sql: Callable[..., Any]
) -> None:
    for _ in range(5):
        assert sql(KILL)
        assert alice.get("/tasks").status_code == 200
        assert sql(KILL)
        assert alice.post("/tasks", {"title": "x"}).status_code == 201
    assert len(alice.titles()) == 5


def test_a_read_whose_connection_breaks_is_run_once_more(
    small: Database, sql: Callable[..., Any]
) -> None:
    sql("CREATE SEQUENCE IF NOT EXISTS attempts")
    sql("ALTER SEQUENCE attempts RESTART")
    kill_first = """
    SELECT CASE WHEN nextval('attempts') = 1 THEN pg_terminate_backend(pg_backend_pid()) END
    """
    assert small.query(kill_first, {}) == [(None,)]
    kill_always = "SELECT nextval('attempts'), pg_terminate_backend(pg_backend_pid())"
    assert code_of(lambda: small.query(kill_always, {})) == "database_unavailable"
    assert sql("SELECT nextval('attempts')") == [(5,)]


def test_a_write_whose_connection_breaks_is_not_sent_again(
    small: Database, sql: Callable[..., Any]
) -> None:
    sql("CREATE SEQUENCE IF NOT EXISTS attempts")
    sql("ALTER SEQUENCE attempts RESTART")
    kill = "SELECT nextval('attempts'), pg_terminate_backend(pg_backend_pid())"
    assert code_of(lambda: small.execute(kill, {})) == "database_unavailable"
    assert sql("SELECT nextval('attempts')") == [(2,)]


def test_broken_connections_lose_no_slot(small: Database) -> None:
    for _ in range(10):
        kill = "SELECT pg_terminate_backend(pg_backend_pid())"
        assert code_of(lambda: small.execute(kill, {})) == "database_unavailable"
        in_between = f"SELECT 1; {kill}; SELECT 1"
        assert code_of(lambda: small.execute(in_between, {})) == "database_unavailable"
    assert small.query("SELECT 1", {}) == [(1,)]
    with held(small, 1):  # of two
        assert small.query("SELECT 1", {}) == [(1,)]


def test_a_request_gives_up_on_a_full_pool_after_the_timeout(small: Database) -> None:
    with held(small, 2):
        started = time.monotonic()
        assert code_of(lambda: small.query("SELECT 1", {})) == "pool_exhausted"
        assert 0.15 < time.monotonic() - started < 1
    assert small.query("SELECT 1", {}) == [(1,)]


def test_a_waiting_request_gets_the_connection_that_becomes_free(small: Database) -> None:
    patient = Database(replace(small._config, db_pool_max=1, db_pool_timeout=5))
    answers: list[Any] = []
    with held(patient, 1):
        waiting = threading.Thread(target=lambda: answers.append(patient.query("SELECT 1", {})))
        waiting.start()
        time.sleep(0.1)
        assert answers == []
    waiting.join(2)
    assert answers == [[(1,)]]


def test_a_slow_statement_and_a_lock_wait_time_out(
    small: Database, config: Config, alice: User
) -> None:
    assert code_of(lambda: small.query("SELECT pg_sleep(5)", {})) == "query_timeout"
    with psycopg2.connect(config.database_url) as lock, lock.cursor() as cursor:
        cursor.execute("LOCK TABLE tasks")
        assert code_of(lambda: small.query("SELECT 1 FROM tasks", {})) == "query_timeout"
    lock.close()
    assert small.query("SELECT 1", {}) == [(1,)]


def test_a_connection_to_a_silent_server_is_abandoned(small: Database) -> None:
    [(pid,)] = small.query("SELECT pg_backend_pid()", {})
    try:
        os.kill(pid, signal.SIGSTOP)
    except OSError:
        pytest.skip("the server's processes belong to another user")
    try:
        started = time.monotonic()
        assert code_of(lambda: small.execute("SELECT 1", {})) == "database_unavailable"
        assert 0.7 < time.monotonic() - started < 1.5
        assert small.query("SELECT 1", {}) == [(1,)]  # on a new connection
        for call in (small.execute, small.query):
            assert call("SELECT 1", {}) == [(1,)]
    finally:
        os.kill(pid, signal.SIGCONT)


def test_statements_sent_together_are_one_transaction(
    small: Database, sql: Callable[..., Any]
) -> None:
    insert = "INSERT INTO users (email, email_key, password_hash) VALUES ('x', 'x', 'x')"
    assert code_of(lambda: small.script(f"{insert}; {insert}")) == "email_taken"
    assert sql("SELECT count(*) FROM users") == [(0,)]
    small.script(f"{insert}; SELECT 1")
    assert sql("SELECT count(*) FROM users") == [(1,)]


def test_a_connection_left_in_a_transaction_is_not_reused(small: Database) -> None:
    small.script("BEGIN; SET LOCAL TimeZone = 'Asia/Kathmandu'")
    assert small.script("SHOW TimeZone") == [("UTC",)]


def test_an_unforeseen_database_error_is_reported_without_row_values(
    small: Database, alice: User
) -> None:
    secret = "UPDATE users SET email = 'secret', password_hash = NULL"
    with pytest.raises(UnforeseenDatabaseError, match="23502 null value in column") as caught:
        small.execute(secret, {})
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_full_disk_of_the_database_is_no_fault_of_the_service(
    alice: User, sql: Callable[..., Any]
) -> None:
    """PostgreSQL raises 53100 (disk_full) for a write, and goes on reading."""
    task = alice.task()
    sql("""
        CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
        END $$;
        CREATE TRIGGER fill BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION fill();
    """)
    try:
        response = alice.post("/tasks", {"title": "x"})
        assert_error(response, 503, "database_unavailable")
        assert response.headers["Retry-After"]
        assert alice.get(f"/tasks/{task['id']}").json == task
    finally:
        sql("DROP FUNCTION fill CASCADE")


def test_a_statement_that_deadlocks_is_run_again(
    alice: User, config: Config, sql: Callable[..., Any]
) -> None:
    task_id = alice.task()["id"]
    touch = "UPDATE tasks SET version = version + 1 WHERE id = %(id)s::uuid"
    lock = "SELECT pg_advisory_xact_lock({})".format
    # The service is the last to wait, so that it detects the deadlock even on a busy machine.
    # Advisory locks go to the next in line: the other transaction gets lock 1 before the service
    # tries again.
    statement = "; ".join(
        ["SET LOCAL deadlock_timeout = '10ms'", touch, lock(1), lock(2), lock(3), "SELECT 1"]
    )
    patient = Database(replace(config, db_statement_timeout=20))

    def wait_until_waiting(count: int) -> None:
        waiting = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
        """
        wait_for(lambda: sql(waiting) == [(count,)], 20)

    with (
        closing(psycopg2.connect(config.database_url)) as other,
        closing(psycopg2.connect(config.database_url)) as gate,
        ThreadPoolExecutor(2) as threads,
    ):
        other.cursor().execute(f"SET LOCAL deadlock_timeout = '30s'; {lock(3)}")
        gate.cursor().execute(lock(2))
        done = threads.submit(patient.script, statement, {"id": task_id})
        wait_until_waiting(1)
        blocked = threads.submit(other.cursor().execute, lock(1))
        wait_until_waiting(2)
        gate.rollback()
        blocked.result()
        assert not done.done()
        other.rollback()
        assert done.result() == [(1,)]
    assert sql("SELECT version FROM tasks") == [(2,)]


def test_a_failed_connect_is_not_repeated_for_each_request(config: Config) -> None:
    with socket.socket() as silent:  # accepts connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        url = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/taskflow"
        database = Database(replace(config, database_url=url))
        with ThreadPoolExecutor(8) as pool:
            started = time.monotonic()
            codes = list(
                pool.map(lambda _: code_of(lambda: database.execute("SELECT 1", {})), range(40))
            )
            took = time.monotonic() - started
    assert set(codes) == {"database_unavailable"}
    assert took < 6


def test_idle_connections_are_kept_for_a_burst_and_closed_afterwards(
    config: Config, sql: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = config.database_url or ""
    url += f"{'&' if '?' in url else '?'}application_name=burst"
    database = Database(replace(config, database_url=url, db_pool_min=1, db_pool_max=4))

    def opened() -> int:
        [(count,)] = sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'burst'")
        return count

    with held(database, 3):
        pass
    for _ in range(3):
        database.query("SELECT 1", {})
    assert opened() == 3
    monkeypatch.setattr("taskflow.database.pool.IDLE_SECONDS", 0)
    time.sleep(0.7)
    assert opened() == 1


def test_an_unreachable_database_is_logged_once_without_credentials(
    app_with: Callable[..., Flask], alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"postgresql://someone:hunter2@127.0.0.1:{free_port()}/taskflow"
    client = app_with(database_url=url).test_client()
    with caplog.at_level(logging.WARNING):
        response = client.get("/api/v1/tasks", headers={"Authorization": f"Bearer {alice.token}"})
    assert_error(response, 503, "database_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert "hunter2" not in caplog.text + response.text
    [record] = [record for record in caplog.records if record.name == "taskflow.errors"]
    assert record.getMessage().startswith("Database unavailable: ")
    assert "Connection refused" in record.getMessage()


def test_a_connection_to_a_read_only_primary_is_abandoned(
    config: Config, empty_database: Callable[[], str]
) -> None:
    url = empty_database()
    run_sql(url, "CREATE TABLE t (n int)")
    database = Database(replace(config, database_url=url))
    database.execute("INSERT INTO t VALUES (1)", {})
    name = urlsplit(url).path[1:]
    database.script("SET default_transaction_read_only = on")
    assert code_of(lambda: database.execute("INSERT INTO t VALUES (2)", {})) == (
        "database_unavailable"
    )
    database.execute("INSERT INTO t VALUES (2)", {})  # on a connection to a primary
    run_sql(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    run_sql(url, KILL)
    assert code_of(lambda: database.query("SELECT n FROM t", {})) == "database_unavailable"
    run_sql(os.environ["TEST_DATABASE_URL"], f"ALTER DATABASE {name} RESET ALL")
    time.sleep(FAILED_SECONDS)  # a connect has just failed
    assert database.query("SELECT n FROM t", {}) == [(1,), (2,)]


def test_each_process_opens_its_own_connections_on_first_use(
    config: Config,
) -> None:
    database = Database(config)
    assert database._pool is None
    database.query("SELECT 1", {})
    assert isinstance(database._pool, Pool)
    [(parent,)] = database.query("SELECT pg_backend_pid()", {})
    reader, writer = os.pipe()
    if not os.fork():
        try:
            [(child,)] = database.query("SELECT pg_backend_pid()", {})
            os.write(writer, str(child).encode())
        finally:
            os._exit(0)
    os.wait()
    assert int(os.read(reader, 20)) != parent
    assert database.query("SELECT pg_backend_pid()", {}) == [(parent,)]
    os.close(reader)
    os.close(writer)


def test_database_sessions_use_utc_in_any_server_time_zone(
    empty_database: Callable[[], str], config: Config
) -> None:
    url = empty_database()
    name = urlsplit(url).path[1:]
    run_sql(url, f"ALTER DATABASE {name} SET TimeZone = 'Asia/Kathmandu'")
    assert Database(replace(config, database_url=url)).script("SHOW TimeZone") == [("UTC",)]
