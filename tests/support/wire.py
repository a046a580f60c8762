"""HTTP as bytes: requests to a socket, the answers from it, and the output of the service."""

import contextlib
import json
import signal
import socket
import struct
import threading
from dataclasses import dataclass

from taskflow.errors import CATALOG
from tests.support.service import Service

PATIENCE = 10  # seconds for an answer
# The id of an answer to a request whose head is not valid.
NEW_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def request(method: str, path: str, body: bytes = b"", *fields: str, version: str = "1.1") -> bytes:
    """Return the bytes of a request, with length and type if it has a body."""
    lines = [f"{method} {path} HTTP/{version}", "Host: x"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *fields]).encode("latin-1") + b"\r\n\r\n" + body


@dataclass
class Reply:
    """One answer; `cid` is its X-Correlation-ID."""

    status: int
    cid: str | None
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        complaint = self.complaint()
        return f"{self.status} of {self.cid}{complaint and f' ({complaint})'}"

    def complaint(self) -> str:
        """Return a description of what is wrong with the answer, or "" if nothing seems wrong.

        Finds only faults that show without the request.
        """
        if self.cid is None:
            return f"{self.status} without a correlation id"
        if self.status < 400 or (self.status < 500 and not self.body):  # none in answer to HEAD
            return ""
        try:
            code = json.loads(self.body)["error"]["code"]
        except (ValueError, KeyError):
            return f"{self.status}: {self.body!r}"
        fits = self.status < 500 and CATALOG[code].status == self.status
        return "" if fits else f"{self.status} {code}"


def replies(data: bytes, to_head: bool = False) -> list[Reply]:
    """Parse answers, of which the first may be one to HEAD.

    Skips 100 Continue. Raises ValueError for bytes that are no answer.
    """
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        if not end or not line.startswith("HTTP/1."):
            raise ValueError(f"no answer: {head[:200]!r}")
        headers = {k.lower(): v for k, v in (field.split(": ", 1) for field in fields)}
        length = int(headers.get("content-length", 0))
        if to_head and not found:
            length = 0
        body, data = data[:length], data[length:]
        if len(body) < length:
            raise ValueError(f"cut off: {body[:200]!r}")
        if line[9:12] != "100":
            cid = headers.get("x-correlation-id")
            found.append(Reply(int(line[9:12]), cid, headers, body))
    return found


class Wire:
    """A connection that sends and receives bytes."""

    def __init__(self, port: int, data: bytes = b"") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.sock.sendall(data)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_error: object) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Reset the connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def rest(self) -> bytes:
        """Close the sending side, and return all bytes until the service closes the connection."""
        data = b""
        with contextlib.suppress(ConnectionError):  # the service discards the rest of the request
            self.sock.shutdown(socket.SHUT_WR)
            while piece := self.sock.recv(65536):
                data += piece
        return data

    def pump(self, piece: bytes, total: int, pause: float = 0.05) -> tuple[bytes, int, int]:
        """Send a piece again and again until the service closes.

        Returns the answer, the number of bytes sent before it, and the number sent in all. The
        pauses let the service read, so that few of these bytes wait in the kernel.
        """
        answer, before, sent = b"", 0, 0
        with contextlib.suppress(ConnectionError):
            while sent < total:
                self.sock.settimeout(pause)
                with contextlib.suppress(TimeoutError):
                    more = self.sock.recv(65536)
                    if not more:
                        break
                    before = before if answer else sent
                    answer += more
                self.sock.settimeout(PATIENCE)
                self.sock.sendall(piece)
                sent += len(piece)
        return answer, before, sent


def ask(port: int, data: bytes) -> list[Reply]:
    """Send requests on a new connection, and return the answers."""
    with Wire(port, data) as wire:
        return replies(wire.rest())


def outcome(port: int, data: bytes) -> str:
    """Send bytes, and return in one line which requests were answered, and how."""
    try:
        return ", ".join(map(str, ask(port, data))) or "nothing"
    except (TimeoutError, ValueError) as error:
        return repr(error)


class Crowd:
    """Slow clients, each of which sends a beginning, and then one byte a second."""

    def __init__(self, port: int, clients: list[tuple[bytes, bytes]]) -> None:
        self._wires = [(Wire(port), iter(more)) for _, more in clients]
        for (wire, _), (start, _) in zip(self._wires, clients, strict=True):
            with contextlib.suppress(ConnectionError):  # the service has closed the connection
                wire.sock.sendall(start)
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
                for byte in more:
                    with contextlib.suppress(ConnectionError):
                        wire.sock.sendall(bytes([byte]))
                    break


class Output:
    """The output of the service, read continuously, since a full pipe would block the service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.lines: list[str] = []
        assert service.process.stdout
        self._thread = threading.Thread(target=self.lines.extend, args=[service.process.stdout])
        self._thread.start()

    def errors(self) -> list[str]:
        """Return the lines that are errors or hold a stack trace."""
        return [line for line in self.lines if "Traceback" in line or '"level": "ERROR"' in line]

    def end(self) -> None:
        """Stop the service, and read the rest of its output."""
        self.service.process.send_signal(signal.SIGTERM)
        self.service.process.wait(40)
        self._thread.join()
