"""The database: a connection for each statement, and PostgreSQL's errors in our words   (COM-001).

Statements run in autocommit; a rule that needs several sends them as one string, which
PostgreSQL runs as one transaction in one round trip. This module and `pool.py` are the only ones
that talk to PostgreSQL.
"""

import os
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

import psycopg2
from flask import current_app

from taskflow.config import Config
from taskflow.errors import ServiceError
from taskflow.pool import Connection, Params, Pool, Row

# One table from what PostgreSQL reports to what we answer; what is not here is a fault of ours.
CODE_BY_CONSTRAINT = {
    "users_email_key": "email_taken",
    "idempotency_keys_pkey": "idempotency_key_reused",
}
CODE_BY_SQLSTATE = {
    "40001": "query_timeout",  # serialization_failure, and
    "40P01": "query_timeout",  # deadlock_detected, a second time
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
_READ_RETRY_SECONDS = 1  # a failure that took longer than this is not worth a second wait


class UnforeseenDatabaseError(Exception):
    """An error of PostgreSQL that is our own fault, without what may quote a client's values.

    DETAIL does, and the message does outside the classes for constraints (23) and syntax (42).
    """

    def __init__(self, error: psycopg2.Error) -> None:
        diagnosis = error.diag
        constraint = diagnosis.constraint_name or ""
        told = (error.pgcode or "")[:2] in ("23", "42")
        message = diagnosis.message_primary if told else type(error).__name__
        super().__init__(f"{error.pgcode} {message} {constraint}".rstrip())


class Database:
    """PostgreSQL for one process: opened at the first use, never at import or before a fork."""

    def __init__(self, config: Config) -> None:
        self._config = config
        # PostgreSQL ends a statement by itself; after that, it or the network has gone silent.
        self._patience = config.db_statement_timeout + 0.5
        # As a queue, since threading's semaphore takes twenty times as long.
        self._slots: SimpleQueue[None] = SimpleQueue()
        for _ in range(config.db_pool_max):
            self._slots.put(None)
        self._opening = threading.Lock()
        self._pool: Pool | None = None
        self._waiting = 0
        self.on_acquire: Callable[[float], None] | None = None

    def query(self, sql: str, params: Params, within: float | None = None) -> list[Row]:
        """Run a statement that only reads, and give its rows.

        `within` is how many seconds all of it may take, but for a connect, where that is less
        than usual. Where the connection breaks, it is run once more on a fresh one. Raises
        `ServiceError` `database_unavailable`, `pool_exhausted` or `query_timeout`.
        """
        started = time.monotonic()
        try:
            return self._run(sql, params, within)
        except ServiceError as error:
            slow = time.monotonic() - started > _READ_RETRY_SECONDS
            if error.code != "database_unavailable" or slow:
                raise
        self._open_pool().close_idle()
        return self._run(sql, params, within)

    def execute(self, sql: str, params: Params) -> list[Row]:
        """Run a statement that writes, and give its rows.

        It is sent once: after a broken connection nobody knows whether it was committed. Raises
        `ServiceError` as `query` does, or with the code of the constraint that it breaks.
        """
        return self._run(sql, params)

    def usage(self) -> tuple[int, int, int]:
        """Give how many connections are open and idle, and how many requests wait for one."""
        size, idle = self._pool.usage() if self._pool else (0, 0)
        return size, idle, self._waiting

    def _run(self, sql: str, params: Params, within: float | None = None) -> list[Row]:
        started = time.monotonic()
        try:
            self._slots.get_nowait()
        except Empty:
            self._wait(within or self._config.db_pool_timeout)
        try:
            pool = self._open_pool()
            conn = pool.checkout()
            try:
                waited = time.monotonic() - started
                if self.on_acquire:
                    self.on_acquire(waited)
                seconds = self._patience if within is None else max(within - waited, 0.1)
                return _run_on(conn, sql, params, seconds)
            except psycopg2.Error as error:
                if _code_of(error) == "database_unavailable":
                    conn.close()
                raise
            finally:
                pool.checkin(conn)
        except psycopg2.Error as error:
            code = _code_of(error)
            if code is None:
                raise UnforeseenDatabaseError(error) from None
            raise ServiceError(code) from error
        finally:
            self._slots.put(None)

    def _wait(self, timeout: float) -> None:
        with self._opening:
            self._waiting += 1
        try:
            self._slots.get(timeout=timeout)
        except Empty:
            raise ServiceError("pool_exhausted") from None
        finally:
            with self._opening:
                self._waiting -= 1

    def _open_pool(self) -> Pool:
        pool = self._pool
        if pool is None or pool.pid != os.getpid():
            with self._opening:
                if self._pool is None or self._pool.pid != os.getpid():
                    self._pool = Pool(self._config)
                pool = self._pool
        return pool


def database() -> Database:
    """Give the database of the current application."""
    db: Database = current_app.extensions["database"]
    return db


def _run_on(conn: Connection, sql: str, params: Params, seconds: float) -> list[Row]:
    try:
        return conn.run(sql, params, seconds)
    except psycopg2.Error as error:
        # A script with a BEGIN of its own has left the connection in a failed transaction.
        if error.pgcode not in _ROLLED_BACK or not conn.is_idle():
            raise
    return conn.run(sql, params, seconds)


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
