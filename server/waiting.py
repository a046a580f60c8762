"""Connections that wait, each with a deadline, and the graceful stop.

All of this runs in the main thread.
"""

import contextlib
import time
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker


class WaitingWorker(ThreadWorker):
    """gunicorn's gthread worker, whose waits may end in other ways than a closed connection."""

    def init_process(self) -> None:
        """Set up the worker in its own process, after the fork."""
        self._next_sweep = 0.0
        super().init_process()

    def _wait(self, conn: TConn, seconds: float, callback: Any, event: int = EVENT_READ) -> None:
        conn.timeout = time.monotonic() + seconds
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, event, partial(callback, conn))

    def _end_wait(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)

    def murder_pending(self) -> None:
        """Answer or close the connections that have waited too long, about once a second."""
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + 1
            for conn in [conn for conn in self.pending_conns if conn.timeout <= now]:
                self._time_out(conn)

    def _time_out(self, conn: TConn) -> None:
        """End a wait that took too long."""
        raise NotImplementedError

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            if not conn.rest:  # an answer is finished
                conn.timeout = min(conn.timeout, deadline)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop to accept; a worker that stops first empties the kernel's queue."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            for _ in range(self.cfg.backlog):
                taken = self.nr_conns
                with contextlib.suppress(OSError):  # the process has too many open files
                    self.accept(listener)
                if taken == self.nr_conns:  # the queue is empty
                    break
            listener.close()
