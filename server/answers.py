"""Answers on their way to the client: collected whole, then sent at one go."""

import contextlib
import socket
from typing import IO

import gunicorn
from gunicorn import util

from server.settings import Headers

SEND_SECONDS = 2  # for a client to take an answer, but
SLOWEST = 64 * 1024  # bytes a second, where that takes longer


class Outbox:
    """The part of a socket that gunicorn's response writes to."""

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
        """Refuse: gunicorn closes the socket of an answer that failed in the middle."""
        raise OSError

    def close(self) -> None:
        """Do nothing; the connection is closed elsewhere."""


def encode(status: str, headers: Headers, body: bytes, *, with_body: bool) -> bytes:
    """Return the last answer of a connection as it goes over the wire."""
    fields = [
        *headers,
        ("Server", gunicorn.SERVER),
        ("Date", util.http_date()),
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
    ]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body if with_body else b"")


def send(client: socket.socket, data: bytes) -> None:
    """Send an answer, and wait a bounded time for a client that takes it slowly.

    Raises `OSError`.
    """
    sent = 0
    with contextlib.suppress(BlockingIOError):
        sent = client.send(data)
    if sent < len(data):
        client.settimeout(max(SEND_SECONDS, len(data) / SLOWEST))
        client.sendall(data[sent:])
        client.setblocking(False)
