"""HTTP by hand: bytes for the service's socket, what comes back on it, and what it writes."""

import contextlib
import json
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from taskflow.errors import CATALOG
from tests.service import Service

PATIENCE = 10  # seconds; whoever gets no answer within them hangs
# What gunicorn's parser refuses by itself; 501 is what RFC 9112 6.1 asks for where it does not
# know a transfer coding.
REFUSALS = {400, 414, 417, 431, 501}


@dataclass
class Reply:
    """One answer; `cid` is the request's own correlation id, None where gunicorn refused it."""

    status: int
    cid: str | None
    headers: dict[str, str]
    body: bytes

    def complaint(self) -> str:
        """Say what is wrong with it, as far as one can tell without the request."""
        if self.cid is None:
            closes = self.headers.get("connection") == "close"
            return "" if self.status in REFUSALS and closes else f"gunicorn's {self.status}"
        if self.status >= 500:
            return f"{self.status}: {self.body!r}"
        if self.status < 400 or not self.body:
            return ""
        code = json.loads(self.body)["error"]["code"]
        return "" if CATALOG[code].status == self.status else f"{self.status} with {code}"


class Wire:
    """A connection, and its bytes."""

    def __init__(self, port: int, data: bytes = b"", patience: float = PATIENCE) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self.sock.settimeout(patience)
        self.sock.sendall(data)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_error: object) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Go away at once: RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def rest(self) -> bytes:
        """Say that no more will come, and give all that the service answers until it closes."""
        data = b""
        with contextlib.suppress(ConnectionError):  # it has no use for what is still under way
            self.sock.shutdown(socket.SHUT_WR)
            while piece := self.sock.recv(65536):
                data += piece
        return data


def replies(data: bytes, heads: bool = False) -> list[Reply]:
    """Take answers apart; what is none is a `ValueError`. 100 Continue is no answer."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        if not end or not line.startswith("HTTP/1."):
            raise ValueError(f"no answer: {head[:200]!r}")
        headers = dict(field.lower().split(": ", 1) for field in fields)
        length = 0 if heads else int(headers.get("content-length", 0))
        body, data = data[:length], data[length:]
        if len(body) < length:
            raise ValueError(f"cut off: {body[:200]!r}")
        if not line[9:].startswith("100"):
            cid = headers.get("x-correlation-id")
            found.append(Reply(int(line[9:12]), cid, headers, body))
    return found


def ask(port: int, data: bytes) -> list[Reply]:
    """Send requests on a connection of their own, and give the answers to them."""
    with Wire(port, data) as wire:
        return replies(wire.rest(), heads=data.startswith(b"HEAD "))


def request(
    method: str, path: str, body: bytes = b"", *fields: str, version: str = "1.1", **more: str
) -> bytes:
    """Give the bytes of a request, with a Content-Length where it has a body."""
    headers = {"Host": "x", **({"Content-Length": str(len(body))} if body else {}), **more}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append("Content-Type: application/json")
    head = "\r\n".join([f"{method} {path} HTTP/{version}", *lines, *fields])
    return head.encode("latin-1") + b"\r\n\r\n" + body


class Output:
    """What the service writes, read as it comes: a full pipe would stop it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.lines: list[str] = []
        assert service.process.stdout
        self._thread = threading.Thread(target=self.lines.extend, args=[service.process.stdout])
        self._thread.start()

    def faults(self) -> list[str]:
        """End the service, and give what it wrote of errors: each with its stack."""
        self.service.process.send_signal(signal.SIGTERM)
        self.service.process.wait(40)
        self._thread.join()
        return [line for line in self.lines if "Traceback" in line or '"level": "ERROR"' in line]


class Crowd:
    """Slow clients, each with a beginning and what it goes on with, a byte a second."""

    def __init__(self, port: int, clients: list[tuple[bytes, bytes]]) -> None:
        self._wires = [(Wire(port, start), iter(more)) for start, more in clients]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._dribble)

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()
        for wire, _ in self._wires:
            wire.reset()

    def _dribble(self) -> None:
        while not self._stop.wait(1):
            for wire, more in self._wires:
                with contextlib.suppress(OSError):  # the service has had enough of this one
                    wire.sock.sendall(bytes([byte]) if (byte := next(more, None)) else b"")


def pump(wire: Wire, pieces: Iterator[bytes], pause: float) -> tuple[int, int]:
    """Send until the service closes; give how much was sent when it answered, and in all.

    The pauses let it read, so that what was sent is what it read and not what its system holds.
    """
    sent = before = 0
    answered = False
    for piece in pieces:
        wire.sock.settimeout(pause)
        with contextlib.suppress(TimeoutError):
            try:
                if not (wire.sock.recv(65536) or answered):
                    break
                answered, before = True, before or sent
            except ConnectionError:
                break
        wire.sock.settimeout(PATIENCE)
        try:
            wire.sock.sendall(piece)
        except ConnectionError:
            break
        sent += len(piece)
    return before, sent
