"""A psycopg2 connection pool that detects dead connections and bounds every wait.

It opens connections one by one as they are needed, never loses a slot, and cuts off a statement
that is overdue because the server or the network has gone silent.
"""

import logging
import os
import threading
import time
import weakref

import psycopg2
from psycopg2.pool import ThreadedConnectionPool

from taskflow.config import Config
from taskflow.database.connection import Connection, Connector

logger = logging.getLogger(__name__)

FAILED_SECONDS = 0.5  # pause after a failed connect
PROBE_SECONDS = 30  # longest connect after a failure; only one thread tries
FRESH_SECONDS = 0.001  # a connection that was used this recently is assumed to be alive
IDLE_SECONDS = 60  # how long a connection above DB_POOL_MIN is kept unused
_WATCH_SECONDS = 0.25  # between two searches for overdue statements


class Pool(ThreadedConnectionPool):
    """psycopg2's pool for one process; `pid` is the process that opened the pool.

    psycopg2 keeps `minconn` idle connections. With fewer than `maxconn`, every burst of requests
    would connect anew (psycopg/psycopg2#563). psycopg2 also holds its lock while it connects, so
    that one slow connect would stop every thread. This class releases the lock.
    """

    # psycopg2's own attributes, which its type stubs don't declare.
    _lock: threading.Lock
    _pool: list[Connection]
    _used: dict[object, Connection]
    _rused: dict[int, object]

    def __init__(self, config: Config) -> None:
        super().__init__(0, config.db_pool_max)
        self.minconn = config.db_pool_max
        self.pid = os.getpid()
        self._keep = config.db_pool_min
        self._connector = Connector(config)
        self._failure: psycopg2.OperationalError | None = None
        self._probe_at = 0.0
        threading.Thread(target=_watch, args=[weakref.ref(self)], daemon=True).start()

    def _connect(self, key: object = None) -> Connection:
        # psycopg2 calls this with the lock held. After a failed connect, one thread tries again
        # now and then. The others fail at once with the last error, and do not queue up.
        if self._failure is not None and time.monotonic() < self._probe_at:
            raise type(self._failure)(str(self._failure))
        if self._failure is not None:
            self._probe_at = time.monotonic() + PROBE_SECONDS
        self._lock.release()
        failure = None
        try:
            conn = self._connector.open()
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

    def checkout(self) -> Connection:
        """Take a live connection out of the pool, opening one if none is idle."""
        while True:
            conn: Connection = self.getconn()  # type: ignore[assignment]
            fresh = time.monotonic() - conn.used_at < FRESH_SECONDS
            if not conn.used_at or fresh or conn.is_alive():
                return conn
            self.putconn(conn, close=True)

    def checkin(self, conn: Connection) -> None:
        """Put a connection back, closing it unless it is idle, so that no slot is lost.

        psycopg2's putconn() would roll back a transaction itself, and lose the slot if that fails
        (psycopg/psycopg2#62).
        """
        conn.used_at = time.monotonic()
        self.putconn(conn, close=not conn.is_idle())

    def usage(self) -> tuple[int, int]:
        """Return the number of open connections, and of idle ones among them."""
        idle = len(self._pool)
        return len(self._used) + idle, idle

    def close_idle(self) -> None:
        """Close all idle connections, because one broke and the others lead to the same server."""
        with self._lock:
            idle, self._pool = self._pool, []
        for conn in idle:
            conn.close()

    def close_surplus(self) -> None:
        """Close connections that were unused for a minute, except DB_POOL_MIN of them."""
        oldest = time.monotonic() - IDLE_SECONDS
        with self._lock:  # the idle connections are a stack; its bottom was unused for longest
            candidates = self._pool[: max(len(self._pool) - self._keep, 0)]
            surplus = [conn for conn in candidates if conn.used_at < oldest]
            self._pool = [conn for conn in self._pool if conn not in surplus]
        for conn in surplus:
            conn.close()

    def cut_off_overdue(self) -> None:
        """End the wait for every statement whose deadline has passed."""
        now = time.monotonic()
        with self._lock:
            overdue = [conn for conn in self._used.values() if conn.deadline < now]
            if overdue:  # now one thread tries whether a new connection works
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
