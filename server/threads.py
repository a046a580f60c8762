"""Threads that run calls from one queue."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class Threads:
    """A pool without futures; concurrent.futures takes 5 % of a GET more (see README.md)."""

    def __init__(self, count: int) -> None:
        self._queue: SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = SimpleQueue()
        for _ in range(count):
            threading.Thread(target=self._run, daemon=True).start()

    def submit(self, call: Callable[..., None], *args: Any) -> None:
        """Have a thread make a call, which must not raise."""
        self._queue.put((call, args))

    def _run(self) -> None:
        while True:
            call, args = self._queue.get()
            call(*args)

    def shutdown(self, wait: bool) -> None:
        """Do nothing; the threads end with the process."""
