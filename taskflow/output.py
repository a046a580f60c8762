"""The handler that writes whole log lines to stdout. No request waits for their reader.

A line of at most `MAX_LINE` bytes goes to a pipe in one piece or not at all (POSIX, `write`), so
the lines of several workers can't get mixed up. Lines that a slow reader does not take at once wait
in memory. Lines that stdout can't take are lost, with one warning on stderr.
"""

import contextlib
import logging
import mmap
import os
import select
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

MAX_LINE = select.PIPE_BUF  # bytes, with the newline: 4,096 on Linux
MAX_WAITING = 4 * 1024 * 1024  # bytes of lines that wait for a slow reader
FLUSH_SECONDS = 1  # the longest wait for a slow reader at the end of the process
REPORT_SECONDS = 10  # between two lines that say how many were lost


class StdoutHandler(logging.Handler):
    """Writes lines without waiting."""

    def __init__(self) -> None:
        super().__init__()
        self._fd, self._write = _writer(sys.__stdout__.fileno() if sys.__stdout__ else None)
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # the parent writes the waiting lines
        # Shared by all workers; 1 if a full disk took only a part of the last line.
        self._torn = mmap.mmap(-1, 1)
        self._lost = 0
        self._has_warned = False
        self._reported_at = float("-inf")

    def _reset(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._drainer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write, queue or lose a record's line."""
        try:
            line = self.format(record)
        except Exception:  # a bug in the logging call, which `logging` reports
            self.handleError(record)
            return
        self.write(line)

    def write(self, line: str) -> None:
        """Write, queue or lose a line."""
        with self._locked():
            lost = self._lost
            # JSON can have a lone surrogate only as an escape.
            self._put(line.encode("utf-8", "backslashreplace") + b"\n")
            is_taken = self._lost == lost
            if lost and is_taken and time.monotonic() > self._reported_at + REPORT_SECONDS:
                self._report()

    def _put(self, line: bytes) -> None:
        if self._waiting or not self._send(line):
            self._wait(line)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _send(self, line: bytes) -> bool:
        """Return False if a line has to wait; otherwise it was written, or lost as unwritable."""
        data = b"\n" + line if self._torn[0] else line
        try:
            written = self._write(data)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lose(error)
            return True
        if data is not line:
            self._torn[0] = 0
        if written < len(data):
            self._keep_rest(data[written:])
        return True

    def _keep_rest(self, rest: bytes) -> None:
        """Let the rest of a line wait, unless a full disk took the beginning."""
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            self._torn[0] = 1
            self._lose(OSError("the disk took only a part"))
        else:
            self._wait(rest, is_first=True)

    def _wait(self, line: bytes, is_first: bool = False) -> None:
        if self._waiting_bytes + len(line) > MAX_WAITING:
            self._lose(BlockingIOError("its reader is too slow"))
            return
        (self._waiting.appendleft if is_first else self._waiting.append)(line)
        self._waiting_bytes += len(line)
        if self._drainer is None:
            self._drainer = threading.Thread(target=self._drain, name="log", daemon=True)
            try:
                self._drainer.start()
            except RuntimeError:  # no more threads are allowed; a later line tries again
                self._drainer = None

    def _drain(self) -> None:
        while self._drainer:
            _wait_for_room(self._fd, 1)
            self._send_waiting()

    def _send_waiting(self) -> None:
        with self._locked():
            while self._waiting:
                line = self._waiting.popleft()
                self._waiting_bytes -= len(line)
                if not self._send(line):
                    self._waiting.appendleft(line)
                    self._waiting_bytes += len(line)
                    return
            self._drainer = None

    def _lose(self, error: OSError) -> None:
        self._lost += 1
        if not self._has_warned:
            self._has_warned = True
            _warn(f"taskflow: log lines are lost, stdout can't take them: {error}")

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        lost, self._lost = self._lost, 0
        text = "Lines lost because stdout could not take them: %s"
        record = logging.LogRecord(__name__, logging.WARNING, "", 0, text, (lost,), None)
        self.filter(record)
        self._put(self.format(record).encode() + b"\n")
        if self._lost:
            self._lost += lost

    def flush(self) -> None:
        """Wait until the waiting lines are taken, for `FLUSH_SECONDS` at most."""
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._waiting and time.monotonic() < deadline:
            _wait_for_room(self._fd, 0.1)
            self._send_waiting()


def _writer(fd: int | None) -> tuple[int, Callable[[bytes], int]]:
    """Return a descriptor and a function that writes to it.

    The function returns the number of bytes written. It raises `BlockingIOError` if it would have
    to wait, and `OSError` if nothing can be written.
    """
    if fd is None:  # stdout was closed, and another file may have its number now
        return -1, _refuse
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        sock = socket.socket(fileno=os.dup(fd))
        return sock.fileno(), lambda data: sock.send(data, socket.MSG_DONTWAIT)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        # Other processes share the open file, and would share O_NONBLOCK, so open it again.
        with contextlib.suppress(OSError):
            own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            return own, lambda data: os.write(own, data)
        return fd, lambda data: _write_if_ready(fd, data)
    return fd, lambda data: os.write(fd, data)


def _refuse(_data: bytes) -> int:
    raise OSError("it is closed")


def _write_if_ready(fd: int, data: bytes) -> int:
    if not _wait_for_room(fd, 0):
        raise BlockingIOError
    return os.write(fd, data)


def _wait_for_room(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


def _warn(text: str) -> None:
    with contextlib.suppress(OSError):  # stderr can't be written either
        if sys.__stderr__ is not None:
            _write_if_ready(sys.__stderr__.fileno(), f"{text}\n".encode())
