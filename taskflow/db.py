"""The database: psycopg2's pool, one round trip a statement, errors in our words        (COM-001).

This is the only module that talks to PostgreSQL. It knows no table. Statements run in autocommit;
a rule that needs two of them asks for a `transaction`.
"""

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
from flask import current_app
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, parse_dsn
from psycopg2.pool import ThreadedConnectionPool

from taskflow.config import Config
from taskflow.errors import ServiceError

logger = logging.getLogger(__name__)

Row = tuple[Any, ...]
Params = Mapping[str, Any]
Statement = Callable[[str, Params], list[Row]]

# One table from what PostgreSQL reports to what we answer; what is not here is a fault of ours.
CODE_BY_CONSTRAINT = {
    "users_email_key": "email_taken",
    "tasks_user_id_fkey": "auth_revoked",
    "sessions_user_id_fkey": "auth_revoked",
    "idempotency_keys_pkey": "idempotency_key_reused",
}
CODE_BY_SQLSTATE = {
    "57014": "query_timeout",  # query_canceled: statement_timeout
    "55P03": "query_timeout",  # lock_not_available: lock_timeout
    "25006": "database_unavailable",  # read_only_sql_transaction: a primary that was demoted
    "53300": "database_unavailable",  # too_many_connections
    "57P01": "database_unavailable",  # admin_shutdown
    "57P02": "database_unavailable",  # crash_shutdown
    "57P03": "database_unavailable",  # cannot_connect_now
    "57P05": "database_unavailable",  # idle_session_timeout
}
_ROLLED_BACK = ("40001", "40P01")  # serialization_failure, deadlock_detected: safe to run again
_IDLE_SECONDS = 60  # how long a connection above DB_POOL_MIN is kept unused
_READ_RETRY_SECONDS = 1  # a failure that took longer than this is not worth a second wait


class _Connection(connection):
    """A connection in autocommit that remembers when it was used last."""

    settings = ""  # statements that go ahead of each of ours, where the start-up could not set them

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocommit = True
        self.used_at = time.monotonic()

    def is_alive(self) -> bool:
        """Whether the server has not closed the connection, as far as the socket shows.

        An idle connection has nothing to read unless the server said goodbye: a look at the
        socket finds a dead one without a round trip.
        """
        if self.closed:
            return False
        poll = select.poll()  # select() can't take file descriptors above 1023
        poll.register(self.fileno(), select.POLLIN)
        return not poll.poll(0)

    def run(self, sql: str, params: Params) -> list[Row]:
        with self.cursor() as cursor:
            cursor.execute(self.settings + sql, params or None)  # None: a % is a %
            return cursor.fetchall() if cursor.description else []


def _connect(**parameters: Any) -> _Connection:
    conn: _Connection = psycopg2.connect(connection_factory=_Connection, **parameters)
    return conn


class _Pool(ThreadedConnectionPool):
    """psycopg2's pool, opening connections one by one when they are first needed.

    Its `minconn` is how many idle connections it keeps when one comes back: with less than
    `maxconn` every burst would connect anew (psycopg/psycopg2#563). And it connects while it
    holds its lock, so that one slow connect would stop every thread: ours lets go of it.
    """

    # psycopg2's own, which its type stubs don't know.
    _lock: threading.Lock
    _pool: list[_Connection]
    _used: dict[object, _Connection]
    _rused: dict[int, object]
    _kwargs: dict[str, Any]

    def __init__(self, config: Config) -> None:
        super().__init__(0, config.db_pool_max, **connection_parameters(config))
        self.minconn = config.db_pool_max
        self.pid = os.getpid()
        self._keep = config.db_pool_min
        self._settings = _session_settings(config)

    def _connect(self, key: object = None) -> _Connection:
        self._lock.release()
        try:
            conn = self._open_connection()
        finally:
            self._lock.acquire()
        self._used[key] = conn
        self._rused[id(conn)] = key
        return conn

    def _open_connection(self) -> _Connection:
        parameters = dict(self._kwargs)
        options = parameters.pop("options", "")
        ours = " ".join(f"-c {name}={value}" for name, value in self._settings.items())
        try:
            return _connect(options=f"{ours} {options}", **parameters)
        except psycopg2.OperationalError as error:
            # PgBouncer takes no options. A SET would stay with its connection for whoever
            # comes next, so each statement brings its own (SET LOCAL, in the same round trip).
            if "unsupported startup parameter" not in str(error):
                raise
        conn = _connect(**parameters)
        conn.settings = "".join(f"SET LOCAL {n} = '{v}'; " for n, v in self._settings.items())
        return conn

    def checkout(self) -> _Connection:
        """Give a connection that was alive a moment ago, opening one where none is idle."""
        while True:
            conn: _Connection = self.getconn()  # type: ignore[assignment]
            if conn.is_alive():
                return conn
            self.putconn(conn, close=True)

    def checkin(self, conn: _Connection) -> None:
        """Take a connection back; close it unless it is idle, so that no slot is ever lost.

        Left to itself, putconn() would roll back, and forget the slot where that fails
        (psycopg/psycopg2#62).
        """
        self.putconn(conn, close=conn.info.transaction_status != TRANSACTION_STATUS_IDLE)
        conn.used_at = time.monotonic()
        with self._lock:  # the idle ones are a stack: its bottom is the one unused the longest
            idle = self._pool
            if len(idle) > self._keep and conn.used_at - idle[0].used_at > _IDLE_SECONDS:
                idle.pop(0).close()


class Database:
    """PostgreSQL for one process: opened at the first use, never at import or before a fork."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._slots = threading.BoundedSemaphore(config.db_pool_max)
        self._opening = threading.Lock()
        self._pool: _Pool | None = None

    def query(self, sql: str, params: Params, timeout: float | None = None) -> list[Row]:
        """Run a statement that only reads, and give its rows.

        `timeout` is how many seconds to wait for a free connection, if not DB_POOL_TIMEOUT.
        Where the connection breaks, it is run once more on another one. Raises `ServiceError`
        `database_unavailable`, `pool_exhausted` or `query_timeout`.
        """
        started = time.monotonic()
        try:
            return self._run(sql, params, timeout)
        except ServiceError as error:
            slow = time.monotonic() - started > _READ_RETRY_SECONDS
            if error.code != "database_unavailable" or slow:
                raise
        return self._run(sql, params, timeout)

    def execute(self, sql: str, params: Params) -> list[Row]:
        """Run a statement that writes, and give its rows.

        It is sent once: after a broken connection nobody knows whether it was committed. Raises
        `ServiceError` as `query` does, or with the code of the constraint that it breaks.
        """
        return self._run(sql, params)

    @contextmanager
    def transaction(self) -> Iterator[Statement]:
        """Give a function like `execute` whose statements are committed together at the end."""
        with self._connection() as conn:
            conn.autocommit = False
            try:
                with conn:
                    yield conn.run
            finally:
                if not conn.closed:
                    conn.autocommit = True

    def _run(self, sql: str, params: Params, timeout: float | None = None) -> list[Row]:
        with self._connection(timeout) as conn:
            try:
                return conn.run(sql, params)
            except psycopg2.Error as error:
                if error.pgcode not in _ROLLED_BACK:
                    raise
            return conn.run(sql, params)

    @contextmanager
    def _connection(self, timeout: float | None = None) -> Iterator[_Connection]:
        if not self._slots.acquire(timeout=timeout or self._config.db_pool_timeout):
            raise ServiceError("pool_exhausted")
        try:
            pool = self._open_pool()
            conn = pool.checkout()
            try:
                yield conn
            except psycopg2.Error as error:
                if _code_of(error) == "database_unavailable":
                    conn.close()
                raise
            finally:
                pool.checkin(conn)
        except psycopg2.Error as error:
            code = _code_of(error)
            if code is None:
                raise
            if code == "database_unavailable":
                logger.warning("Database unavailable: %s", str(error).strip())
            raise ServiceError(code) from error
        finally:
            self._slots.release()

    def _open_pool(self) -> _Pool:
        pool = self._pool
        if pool is None or pool.pid != os.getpid():
            with self._opening:
                if self._pool is None or self._pool.pid != os.getpid():
                    self._pool = _Pool(self._config)
                pool = self._pool
        return pool


def database() -> Database:
    """Give the database of the current application."""
    db: Database = current_app.extensions["database"]
    return db


def connection_parameters(config: Config) -> dict[str, Any]:
    """Give libpq's keywords for DATABASE_URL; what the URL says itself wins over our defaults."""
    defaults: dict[str, Any] = {
        "application_name": "taskflow",
        "client_encoding": "UTF8",
        "connect_timeout": 2,  # seconds, per host
        # A network that went silent ends a connection within these, not after hours.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 5000,  # milliseconds
        "target_session_attrs": "read-write",  # follows the primary where there are several hosts
    }
    if config.db_sslmode:
        defaults["sslmode"] = config.db_sslmode
    return {**defaults, **parse_dsn(config.database_url or "")}


def _session_settings(config: Config) -> dict[str, str]:
    milliseconds = f"{config.db_statement_timeout * 1000:.0f}ms"
    return {
        "TimeZone": "UTC",  # the JSON of a task is made by PostgreSQL
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
    }


def _code_of(error: psycopg2.Error) -> str | None:
    """Give the code of the catalog for an error of psycopg2, or None if it is our own fault."""
    sqlstate = error.pgcode
    if sqlstate is None:  # not from the server: libpq lost the connection, or never had it
        unreachable = isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))
        return "database_unavailable" if unreachable else None
    if sqlstate.startswith("08"):  # connection_exception
        return "database_unavailable"
    return CODE_BY_CONSTRAINT.get(error.diag.constraint_name or "") or CODE_BY_SQLSTATE.get(
        sqlstate
    )
