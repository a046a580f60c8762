"""gunicorn's threaded worker, so that a stop drops no connection and a close blocks nobody.

When it stops, gunicorn's own lets the listening socket be until it ends: the kernel goes on taking
connections, and resets them then. This one serves what the kernel has taken, and closes it. And
gunicorn's own waits in its only dispatching thread for up to two seconds until a client has closed
its side: this one has other threads wait.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

CLOSERS = 8  # threads that wait for clients to close their side


class Worker(ThreadWorker):
    """gthread that takes the last connections in before it stops to listen."""

    def init_process(self) -> None:
        """Make the closing threads' pool, in the worker's own process."""
        self._closers = ThreadPoolExecutor(CLOSERS, "closer")
        super().init_process()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Listen or not; a worker that stops never will again."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            taken = -1
            while taken != self.nr_conns:  # accept() does nothing where nobody waits
                taken = self.nr_conns
                self.accept(listener)
            listener.close()
        for conn in self.pending_conns:  # that never said a word: gunicorn would wait for them
            conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)

    def finish_request(self, conn: TConn, fs: Future[Any]) -> None:
        """Keep the connection, or have it closed."""
        conn.close = partial(self._close, type(conn).close, conn)
        super().finish_request(conn, fs)

    def _close(self, close: Any, conn: TConn, graceful: bool = False) -> None:
        if graceful:
            self._closers.submit(close, conn, graceful=True)
        else:
            close(conn)
