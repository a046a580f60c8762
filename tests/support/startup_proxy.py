"""A proxy in front of PostgreSQL that looks at start-up messages, and may refuse them."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from psycopg2.extensions import parse_dsn

_ENCRYPTION_REQUESTS = {80877103, 80877104}  # SSLRequest, GSSENCRequest
Startup = dict[str, str]


class StartupProxy:
    """Passes on a connection unless `refusal` refuses its start-up message.

    `refusal` returns the text of an error, or None to accept the message, which it may change.
    """

    def __init__(self, database_url: str, refusal: Callable[[Startup], str | None]) -> None:
        self._refusal = refusal
        self._target = parse_dsn(database_url)
        self.startups: list[Startup] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        user = self._target.get("user", "postgres")
        port = self._listener.getsockname()[1]
        name = urlsplit(database_url).path
        self.url = f"postgresql://{user}@127.0.0.1:{port}{name}?sslmode=disable"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, EOFError):
            startup = self._read_startup(client)
            if startup is None:
                return
            self.startups.append(dict(startup))
            text = self._refusal(startup)
            if text is not None:
                client.sendall(_error(text))
                return
            with self._connect() as server:
                server.sendall(_startup_message(startup))
                other = threading.Thread(target=_pump, args=[server, client], daemon=True)
                other.start()
                _pump(client, server)
                other.join()

    def _read_startup(self, client: socket.socket) -> Startup | None:
        while True:
            length, code = struct.unpack("!II", _read(client, 8))
            body = _read(client, length - 8)
            if code not in _ENCRYPTION_REQUESTS:
                break
            client.sendall(b"N")
        if code >> 16 != 3:  # a cancellation
            return None
        words = body.decode().split("\0")
        return dict(zip(words[:-2:2], words[1:-2:2], strict=True))

    def _connect(self) -> socket.socket:
        host, port = self._target.get("host", "localhost"), self._target.get("port", "5432")
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((host, int(port)))


def _startup_message(startup: Startup) -> bytes:
    body = "".join(f"{name}\0{value}\0" for name, value in startup.items()).encode() + b"\0"
    return struct.pack("!II", len(body) + 8, 3 << 16) + body


def _error(text: str) -> bytes:
    fields = f"SFATAL\0VFATAL\0C0A000\0M{text}\0\0".encode()
    return b"E" + struct.pack("!I", len(fields) + 4) + fields


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _pump(source: socket.socket, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
