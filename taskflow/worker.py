"""gunicorn's threaded worker, so that a stop drops no connection.

When it stops, gunicorn's own lets the listening socket be until it ends: the kernel goes on taking
connections, and resets them then. This one serves what the kernel has taken, and closes it.
"""

import time

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker


class Worker(ThreadWorker):
    """gthread that takes the last connections in before it stops to listen."""

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
