"""HTTP/1.1 on the wire: how much of a request is there, and what gunicorn does with it for less.

Parsing itself is gunicorn's.
"""

import contextlib
import os
import re
import socket
import time
from functools import lru_cache
from io import BytesIO
from typing import Any

from gunicorn import util
from gunicorn.http import unreader, wsgi
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import InvalidResponseHeader

from taskflow.http.parsing import MAX_BODY

PEEK = 16 * 1024  # bytes; enough for all but a few
MAX_HEAD = 64 * 1024  # bytes; of a longer one, what has come is all that is read
MAX_REQUEST = MAX_BODY + 256 * 1024  # bytes; with its head, and the sizes of its chunks
SEND_SECONDS = 2  # for an answer to be taken, by whoever reads it, but
SLOWEST = 64 * 1024  # bytes a second, where that takes longer

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_HTTP_1_1 = re.compile(rb"(\r\n)*[^\r\n]* HTTP/1\.1\r\n")
_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"


def missing(data: bytes, start: int = 0) -> tuple[int, int]:
    """Say how many more bytes a request has at least, from those that have come of it.

    Gives that number, 0 for a request that is whole, and below 0 for one that is not, but has been
    seen enough of to be refused; and where to go on looking, to be given as `start` with more of
    the same data (0, or where a chunk starts). Framing is RFC 9112, sections 6 and 7.1.
    """
    head = data.find(b"\r\n\r\n") + 2  # with the end of the last line
    if not 2 <= head <= MAX_HEAD:
        return (-1 if len(data) > MAX_HEAD else 1), 0
    if not _CHUNKED.search(data, 0, head):
        length = _LENGTH.search(data, 0, head)
        digits = length[1].lstrip(b"0") if length else b""
        if len(digits) > 9 or int(digits or b"0") > MAX_BODY:
            return -1, 0
        return max(head + 2 + int(digits or b"0") - len(data), 0), 0
    at = start or head + 2
    while at < MAX_REQUEST and (end := data.find(b"\r\n", at)) >= 0:
        try:
            size = int(data[at:end].partition(b";")[0], 16)
        except ValueError:
            return -1, at
        if size < 0:
            return -1, at
        if size == 0:  # the last chunk; trailers and an empty line follow
            return (0 if data.find(b"\r\n\r\n", end) >= 0 else 1), at
        at = end + 2 + size + 2
    if len(data) >= MAX_REQUEST:
        return -1, at
    return max(min(at + len(_LAST_CHUNK), MAX_REQUEST) - len(data), 1), at


def expects_continue(data: bytes, head: int) -> bool:
    """Whether a client waits to be told to go on with its body (RFC 9110, section 10.1.1).

    `head` is where the last line of the head ends.
    """
    return bool(_HTTP_1_1.match(data, 0, head) and _CONTINUE.search(data, 0, head))


# gunicorn formats it anew for every answer.
_date_at = lru_cache(maxsize=1)(util.http_date)
util.http_date = lambda: _date_at(int(time.time()))


class Unreader(unreader.Unreader):
    """Gives what the kernel has of a request: what is not there is not waited for."""

    def __init__(self, client: socket.socket) -> None:
        super().__init__()
        self._client = client

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Give the next bytes, none at the end of what has come."""
        data = b""
        with contextlib.suppress(OSError):  # nothing yet, or nobody there any more
            # Not all that a hint may ask for: it is a client's word.
            data = self._client.recv(min(max(size_hint or 0, PEEK), MAX_REQUEST))
        return data

    def take(self) -> bytes:
        """Give what waits to be read, of which so much is taken from the kernel."""
        if self.buf.seek(0, os.SEEK_END) < PEEK:  # or one who pipelines would fill the memory
            self.buf.write(self.chunk())
        data: bytes = self.buf.getvalue()
        return data

    def take_body(self, reader: Any) -> BytesIO | None:
        """Give a body that has come with its head; None where its reader has more to do."""
        data = self.buf.getvalue()
        if not isinstance(reader, LengthReader) or reader.length > len(data):
            return None
        self.buf: BytesIO = BytesIO(data[reader.length :])
        return BytesIO(data[: reader.length])


class Response(wsgi.Response):
    """gunicorn's response, which checks its headers at one go: a look at each costs more.

    It relies on Flask to set none that are for one hop only (RFC 9110, section 7.6.1).
    """

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take the application's headers; raises `InvalidResponseHeader`."""
        names = "".join([name for name, _ in headers])
        values = "".join([value for _, value in headers])
        if not (wsgi.TOKEN_RE.fullmatch(names) and wsgi.HEADER_VALUE_RE.fullmatch(values)):
            raise InvalidResponseHeader(names)
        self.headers.extend(headers)
        for name, value in headers:
            if name.lower() == "content-length":
                self.response_length = int(value)


def send(client: socket.socket, data: bytes) -> None:
    """Send an answer, waiting where the client takes it slowly; raises `OSError`."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        sent = client.send(data)
    if sent < len(data):
        client.settimeout(max(SEND_SECONDS, len(data) / SLOWEST))
        client.sendall(data[sent:])
        client.setblocking(False)
