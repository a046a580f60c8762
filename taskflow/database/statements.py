"""The execution of statements, each on a connection in autocommit and in one round trip.

Several statements that belong together are sent as one script, which PostgreSQL runs as one
transaction.
"""

import os
import random
import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any

import psycopg2

from taskflow.config import Config
from taskflow.database.connection import Connection, Params, RefusedError, Row
from taskflow.database.errors import UnforeseenDatabaseError, code_of
from taskflow.database.pool import Pool
from taskflow.errors import DatabaseRefusalError, ServiceError

_NAME = re.compile(r"\s*/\* (\w+) \*/")
_ROLLED_BACK = ("40001", "40P01")  # serialization_failure, deadlock_detected: safe to run again
_RETRY_PAUSE = 0.05  # seconds at most; random, so that two transactions do not deadlock again
_READ_RETRY_SECONDS = 1  # a failure that took longer is not worth a second wait
_GRACE_SECONDS = 0.5  # for PostgreSQL to end an overdue statement; after that it is unreachable


class Database:
    """PostgreSQL for one process. It connects at the first use, never at import or before a fork.

    Every method raises `ServiceError` `database_unavailable`, `pool_exhausted` or
    `query_timeout`.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._patience = config.db_statement_timeout + _GRACE_SECONDS
        # A queue takes a twentieth of the time of threading's semaphore.
        self._slots: SimpleQueue[None] = SimpleQueue()
        for _ in range(config.db_pool_max):
            self._slots.put(None)
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._waiting = 0
        self.on_acquire: Callable[[float], None] | None = None
        self.on_query: Callable[[float, str], None] | None = None  # seconds, name

    def query(
        self, sql: str, params: Params, within: float | None = None, prepare: bool = True
    ) -> list[Row]:
        """Run a statement that only reads and return its rows.

        `within` bounds the statement in seconds, without the time to connect. If the connection
        breaks, the statement is run once more on a new one.
        """
        started = time.monotonic()
        try:
            return self._run(sql, params, prepare, within)
        except ServiceError as error:
            is_slow = time.monotonic() - started > _READ_RETRY_SECONDS
            if error.code != "database_unavailable" or is_slow:
                raise
        self._open_pool().close_idle()
        return self._run(sql, params, prepare, within)

    def execute(self, sql: str, params: Params) -> list[Row]:
        """Run a statement that writes and return its rows.

        The statement is sent only once: if the connection breaks, nobody knows whether the
        statement was committed. Raises the code of a violated constraint too.
        """
        return self._run(sql, params, prepare=True)

    def script(self, sql: str, params: Params | None = None) -> list[Row]:
        """Run several statements as one transaction, or one that can't be prepared.

        Returns the rows of the last statement; raises as `execute` does.
        """
        return self._run(sql, params or {}, prepare=False)

    def usage(self) -> tuple[int, int, int]:
        """Return the numbers of open connections, idle connections, and waiting threads."""
        size, idle = self._pool.usage() if self._pool else (0, 0)
        return size, idle, self._waiting

    def _run(
        self, sql: str, params: Params, prepare: bool, within: float | None = None
    ) -> list[Row]:
        started = time.monotonic()
        self._take_slot(within or self._config.db_pool_timeout)
        try:
            pool = self._open_pool()
            conn = pool.checkout()
            try:
                waited = time.monotonic() - started
                if self.on_acquire:
                    self.on_acquire(waited)
                seconds = self._patience if within is None else max(within - waited, 0.1)
                if self.on_query is None:
                    return _run_on(conn, sql, params, seconds, prepare)
                return self._run_timed(self.on_query, conn, sql, params, seconds, prepare)
            except psycopg2.Error as error:
                if code_of(error) == "database_unavailable":
                    conn.close()
                raise
            finally:
                pool.checkin(conn)
        except RefusedError as error:
            raise DatabaseRefusalError from error
        except psycopg2.Error as error:
            code = code_of(error)
            if code is None:
                raise UnforeseenDatabaseError(error) from None
            raise ServiceError(code) from error
        finally:
            self._slots.put(None)

    @staticmethod
    def _run_timed(
        observe: Callable[[float, str], None], conn: Connection, sql: str, *args: Any
    ) -> list[Row]:
        started = time.monotonic()
        try:
            return _run_on(conn, sql, *args)
        finally:
            observe(time.monotonic() - started, statement_name(sql))

    def _take_slot(self, timeout: float) -> None:
        try:
            self._slots.get_nowait()
        except Empty:
            self._wait_for_slot(timeout)

    def _wait_for_slot(self, timeout: float) -> None:
        with self._lock:
            self._waiting += 1
        try:
            self._slots.get(timeout=timeout)
        except Empty:
            raise ServiceError("pool_exhausted") from None
        finally:
            with self._lock:
                self._waiting -= 1

    def _open_pool(self) -> Pool:
        pool = self._pool
        if pool is None or pool.pid != os.getpid():
            with self._lock:
                if self._pool is None or self._pool.pid != os.getpid():
                    self._pool = Pool(self._config)
                pool = self._pool
        return pool


@lru_cache(maxsize=1000)
def statement_name(sql: str) -> str:
    """Return the name in a statement's leading comment, or `other`."""
    match = _NAME.match(sql)
    return match[1] if match else "other"


def _run_on(conn: Connection, sql: str, params: Params, seconds: float, prepare: bool) -> list[Row]:
    try:
        return conn.run(sql, params, seconds, prepare)
    except psycopg2.Error as error:
        # A script with a BEGIN of its own leaves the connection in a failed transaction.
        if error.pgcode not in _ROLLED_BACK or not conn.is_idle():
            raise
    time.sleep(random.uniform(0, _RETRY_PAUSE))  # noqa: S311 (no secret)
    return conn.run(sql, params, seconds, prepare)
