"""psycopg2's pool, made to hold: nothing dead handed out, nothing lost, nothing waited for in vain.

It opens connections one by one when they are first needed, and cuts one off when its statement is
overdue: a server or a network that went silent, since a slow statement ends by itself before.
"""

import contextlib
import logging
import os
import select
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, parse_dsn
from psycopg2.pool import ThreadedConnectionPool

from taskflow.config import Config

logger = logging.getLogger(__name__)

Row = tuple[Any, ...]
Params = Mapping[str, Any]

FAILED_SECONDS = 0.5  # after a connect that failed, before the next one is tried
PROBE_SECONDS = 30  # for the one that tries: it sets the time anew when it knows
FRESH_SECONDS = 0.001  # a connection that was used so lately is not looked at
IDLE_SECONDS = 60  # how long a connection above DB_POOL_MIN is kept unused
_WATCH_SECONDS = 0.25  # how often the pool looks for what is overdue


class Connection(connection):
    """A connection in autocommit that remembers when it was used last, and how long it may take."""

    settings = ""  # statements that go ahead of each of ours, where the start-up could not set them

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocommit = True
        self.used_at = 0.0
        self.deadline = float("inf")
        self._poll = select.poll()  # select() can't take file descriptors above 1023
        self._poll.register(self.fileno(), select.POLLIN)

    def is_idle(self) -> bool:
        """Whether it is in no transaction, and not broken."""
        return self.get_transaction_status() == TRANSACTION_STATUS_IDLE

    def is_alive(self) -> bool:
        """Whether the server has not closed the connection, as far as the socket shows.

        An idle connection has nothing to read unless the server said goodbye: a look at the
        socket finds a dead one without a round trip.
        """
        if self.closed:
            return False
        return not self._poll.poll(0)

    def run(self, sql: str, params: Params, seconds: float) -> list[Row]:
        """Run a statement that is cut off after so many seconds, and give its rows."""
        self.deadline = time.monotonic() + seconds
        try:
            with self.cursor() as cursor:
                cursor.execute(self.settings + sql, params or None)  # None: a % is a %
                return cursor.fetchall() if cursor.description else []
        finally:
            self.deadline = float("inf")

    def cut_off(self) -> None:
        """Make another thread's wait for an answer end, as if the server had hung up."""
        with contextlib.suppress(OSError, psycopg2.Error):  # it ended just now
            sock = socket.socket(fileno=os.dup(self.fileno()))
            with sock:
                if self.deadline < time.monotonic():
                    sock.shutdown(socket.SHUT_RDWR)


def _connect(**parameters: Any) -> Connection:
    conn: Connection = psycopg2.connect(connection_factory=Connection, **parameters)
    return conn


class Pool(ThreadedConnectionPool):
    """psycopg2's pool, opening connections one by one when they are first needed.

    Its `minconn` is how many idle connections it keeps when one comes back: with less than
    `maxconn` every burst would connect anew (psycopg/psycopg2#563). And it connects while it
    holds its lock, so that one slow connect would stop every thread: ours lets go of it.
    """

    # psycopg2's own, which its type stubs don't know.
    _lock: threading.Lock
    _pool: list[Connection]
    _used: dict[object, Connection]
    _rused: dict[int, object]
    _kwargs: dict[str, Any]

    def __init__(self, config: Config) -> None:
        super().__init__(0, config.db_pool_max, **connection_parameters(config))
        self.minconn = config.db_pool_max
        self.pid = os.getpid()
        self._keep = config.db_pool_min
        self._settings = _session_settings(config)
        self._takes_options = True
        self._failure: psycopg2.OperationalError | None = None
        self._probe_at = 0.0
        threading.Thread(target=_watch, args=[weakref.ref(self)], daemon=True).start()

    def _connect(self, key: object = None) -> Connection:
        # Called with the lock. Where a connect has just failed, one thread tries again now and
        # then, and the others know the outcome: they do not wait for it one after the other.
        if self._failure is not None and time.monotonic() < self._probe_at:
            raise psycopg2.OperationalError(str(self._failure))
        if self._failure is not None:
            self._probe_at = time.monotonic() + PROBE_SECONDS
        self._lock.release()
        failure = None
        try:
            conn = self._open_connection()
        except psycopg2.OperationalError as error:
            failure = error
            raise
        finally:
            self._lock.acquire()
            self._failure = failure
            if failure is not None:
                self._probe_at = time.monotonic() + FAILED_SECONDS
        self._used[key] = conn
        self._rused[id(conn)] = key
        return conn

    def _open_connection(self) -> Connection:
        parameters = dict(self._kwargs)
        if self._takes_options:
            ours = "".join(f"-c {name}={value} " for name, value in self._settings.items())
            options = f"{ours}-c IntervalStyle=iso_8601 {parameters.get('options', '')}"
            try:
                conn = _connect(**{**parameters, "options": options})
                # PgBouncer can be told to ignore them: the server says which style is in force.
                if conn.info.parameter_status("IntervalStyle") == "iso_8601":
                    return conn
                conn.close()
            except psycopg2.OperationalError as error:
                if "unsupported startup parameter" not in str(error):
                    raise
            self._takes_options = False
        # PgBouncer takes no options. A SET would stay with its connection for whoever comes
        # next, so each statement brings its own (SET LOCAL, in the same round trip).
        conn = _connect(**parameters)
        conn.settings = "".join(f"SET LOCAL {k} = '{v}'; " for k, v in self._settings.items())
        return conn

    def checkout(self) -> Connection:
        """Give a connection that was alive a moment ago, opening one where none is idle."""
        while True:
            conn: Connection = self.getconn()  # type: ignore[assignment]
            fresh = time.monotonic() - conn.used_at < FRESH_SECONDS
            if not conn.used_at or fresh or conn.is_alive():
                return conn
            self.putconn(conn, close=True)

    def checkin(self, conn: Connection) -> None:
        """Take a connection back; close it unless it is idle, so that no slot is ever lost.

        Left to itself, putconn() would roll back, and forget the slot where that fails
        (psycopg/psycopg2#62).
        """
        conn.used_at = time.monotonic()
        self.putconn(conn, close=not conn.is_idle())

    def close_surplus(self) -> None:
        """Close what has been idle for a minute, but for DB_POOL_MIN connections."""
        oldest = time.monotonic() - IDLE_SECONDS
        with self._lock:  # the idle ones are a stack: its bottom is the one unused the longest
            candidates = self._pool[: max(len(self._pool) - self._keep, 0)]
            surplus = [conn for conn in candidates if conn.used_at < oldest]
            self._pool = [conn for conn in self._pool if conn not in surplus]
        for conn in surplus:
            conn.close()

    def usage(self) -> tuple[int, int]:
        """Give how many connections are open, and how many of those are idle."""
        idle = len(self._pool)
        return len(self._used) + idle, idle

    def close_idle(self) -> None:
        """Close what is idle: one connection broke, and the others lead to the same server."""
        with self._lock:
            idle, self._pool = self._pool, []
        for conn in idle:
            conn.close()

    def cut_off_overdue(self) -> None:
        """End the waits for an answer that took too long."""
        now = time.monotonic()
        with self._lock:
            overdue = [conn for conn in self._used.values() if conn.deadline < now]
            if overdue:  # one thread finds out whether a new connection does better
                self._failure = psycopg2.OperationalError("the server has gone silent")
                self._probe_at = now
        if overdue:
            self.close_idle()
        for conn in overdue:
            conn.cut_off()


def _watch(reference: weakref.ref[Pool]) -> None:
    while (pool := reference()) is not None:
        try:
            pool.cut_off_overdue()
            pool.close_surplus()
        except Exception:
            logger.exception("The pool's watch failed")
        del pool
        time.sleep(_WATCH_SECONDS)


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
