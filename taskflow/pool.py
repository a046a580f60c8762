"""psycopg2's pool, made to hold: nothing dead handed out, nothing lost, nothing waited for in vain.

It opens connections one by one when they are first needed, and cuts one off when its statement is
overdue: a server or a network that went silent, since a slow statement ends by itself before.
"""

import contextlib
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

Row = tuple[Any, ...]
Params = Mapping[str, Any]

IDLE_SECONDS = 60  # how long a connection above DB_POOL_MIN is kept unused
_WATCH_SECONDS = 0.25  # how often the pool looks for what is overdue


class Connection(connection):
    """A connection in autocommit that remembers when it was used last, and how long it may take."""

    settings = ""  # statements that go ahead of each of ours, where the start-up could not set them

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocommit = True
        self.used_at = time.monotonic()
        self.deadline = float("inf")

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
        with (
            contextlib.suppress(OSError, psycopg2.Error),  # it ended just now
            socket.socket(fileno=os.dup(self.fileno())) as sock,
        ):
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
        threading.Thread(target=_watch, args=[weakref.ref(self)], daemon=True).start()

    def _connect(self, key: object = None) -> Connection:
        self._lock.release()
        try:
            conn = self._open_connection()
        finally:
            self._lock.acquire()
        self._used[key] = conn
        self._rused[id(conn)] = key
        return conn

    def _open_connection(self) -> Connection:
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

    def checkout(self) -> Connection:
        """Give a connection that was alive a moment ago, opening one where none is idle."""
        while True:
            conn: Connection = self.getconn()  # type: ignore[assignment]
            if conn.is_alive():
                return conn
            self.putconn(conn, close=True)

    def checkin(self, conn: Connection) -> None:
        """Take a connection back; close it unless it is idle, so that no slot is ever lost.

        Left to itself, putconn() would roll back, and forget the slot where that fails
        (psycopg/psycopg2#62).
        """
        self.putconn(conn, close=conn.info.transaction_status != TRANSACTION_STATUS_IDLE)
        conn.used_at = time.monotonic()
        with self._lock:  # the idle ones are a stack: its bottom is the one unused the longest
            idle = self._pool
            if len(idle) > self._keep and conn.used_at - idle[0].used_at > IDLE_SECONDS:
                idle.pop(0).close()

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
        if overdue:
            self.close_idle()
        for conn in overdue:
            conn.cut_off()


def _watch(reference: weakref.ref[Pool]) -> None:
    while (pool := reference()) is not None:
        pool.cut_off_overdue()
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
