"""Answers to clients. Each one is collected completely, and then sent in one go."""

import contextlib
import socket
from typing import IO

import gunicorn
from gunicorn import util

from server.settings import Headers

SEND_SECONDS = 2  # that every client gets for taking an answer
SLOWEST = 64 * 1024  # bytes a second; a large answer gets the seconds that it takes at this rate


class Outbox:
    """A stand-in for the client's socket that collects what gunicorn's response writes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.sendall = self._parts.append

    def sendfile(self, file: IO[bytes], offset: int, count: int) -> None:
        """Add a part of a file."""
        file.seek(offset)
        self.sendall(file.read(count))

    def getvalue(self) -> bytes:
        """Return all that was written."""
        return b"".join(self._parts)

    def shutdown(self, _how: int) -> None:
        """Raise `OSError`, which gunicorn ignores when it closes an answer that failed halfway."""
        raise OSError

    def close(self) -> None:
        """Do nothing; the connection is closed elsewhere."""


def encode(status: str, headers: Headers, body: bytes, *, with_body: bool) -> bytes:
    """Return the bytes of an answer after which the connection is closed."""
    fields = [
        *headers,
        ("Server", gunicorn.SERVER),
        ("Date", util.http_date()),
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
    ]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body if with_body else b"")


def send(client: socket.socket, data: memoryview) -> memoryview:
    """Send as much of an answer as the client takes now, and return the rest.

    Raises `OSError` if the client is gone.
    """
    sent = 0
    with contextlib.suppress(BlockingIOError):
        sent = client.send(data)
    # An empty slice would keep all of the answer in memory while the connection waits.
    return data[sent:] if sent < len(data) else memoryview(b"")


def seconds_to_take(size: int) -> float:
    """Return how many seconds a client may need for so many bytes of an answer."""
    return max(SEND_SECONDS, size / SLOWEST)
