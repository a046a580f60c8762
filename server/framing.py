"""Requests, put together from bytes that arrive in pieces (RFC 9112), without ever waiting.

gunicorn's parser decides what is valid. This module distinguishes a request that is incomplete from
one that can't become valid any more, and collects bodies. It never touches a socket.
"""

import re
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkSize,
    InvalidRequestLine,
    LimitRequestHeaders,
    NoMoreData,
    ParseException,
)
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader

MAX_HEAD = 64 * 1024  # bytes; gunicorn's own limit, 800 KB, is too much to parse again and again
MAX_CHUNKING = 256 * 1024  # bytes of chunk sizes, chunk extensions and trailers in a body

_LINE_SO_FAR = re.compile(rb"\r?[ -~]*\r?")
_SIZE_SO_FAR = re.compile(rb"[0-9a-fA-F]*(?:[ \t]*;[^\n]*)?[ \t]*\r?")


def copy_settings(cfg: Config) -> SimpleNamespace:
    """Return gunicorn's settings as plain attributes, for the parser.

    `Config` makes two calls to look up a setting. The parser reads about thirty settings for each
    request, which takes 6 % of a GET (see README.md).
    """
    values = {name: setting.get() for name, setting in cfg.settings.items()}
    return SimpleNamespace(
        **values, is_ssl=cfg.is_ssl, forwarded_allow_networks=cfg.forwarded_allow_networks
    )


class BodyTooLarge(ParseException):
    """The body is longer than the application accepts."""


class RequestReader:
    """The requests of one connection, one after the other.

    `request` is the request whose head has been parsed and whose body is still incomplete, or None.
    """

    def __init__(self, cfg: SimpleNamespace, client: Any, max_body: int) -> None:
        self._cfg, self._client, self._max_body = cfg, client, max_body
        self._data = bytearray()  # unparsed
        self._body = BytesIO()
        self._chunking = 0
        self.request: Request | None = None

    @property
    def size(self) -> int:
        """The number of bytes that are held for an incomplete request."""
        return len(self._data) + self._body.tell()

    @property
    def is_empty(self) -> bool:
        """Whether no request has begun."""
        return not self._data and self.request is None

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._data += data

    def next_request(self) -> Request | None:
        """Return a request with its whole body, or None if more bytes are needed.

        Raises gunicorn's `ParseException` as soon as no further bytes can make the request valid.
        """
        if self.request is None:
            self.request = self._take_head()
        if self.request is None or not self._take_body(self.request.body.reader):
            return None
        request, self.request = self.request, None
        self._body.seek(0)
        request.body, self._body = self._body, BytesIO()
        return request

    def _take_head(self) -> Request | None:
        unreader = IterUnreader([bytes(self._data)])
        try:
            request = Request(self._cfg, unreader, self._client)
        except (NoMoreData, StopIteration):
            if b"\n" not in self._data and not _LINE_SO_FAR.fullmatch(self._data):
                raise InvalidRequestLine("not ASCII") from None
            if len(self._data) > MAX_HEAD:
                raise LimitRequestHeaders("head") from None
            return None
        self._data = bytearray(unreader.take_buffered())
        self._chunking = 0
        return request

    def _take_body(self, reader: Any) -> bool:
        """Move the received part of the body, and return whether the body is complete."""
        if isinstance(reader, ChunkedReader):
            return self._take_chunks(reader)
        if reader.length > self._max_body:
            raise BodyTooLarge
        missing: int = reader.length - self._body.tell()
        written = self._body.write(self._data[:missing])
        del self._data[:missing]
        return written == missing

    def _take_chunks(self, reader: ChunkedReader) -> bool:
        """Move the complete chunks, and return whether the last one has arrived."""
        at = 0
        try:
            while True:
                line_end = self._data.find(b"\r\n", at) + 2
                if line_end < 2:
                    return self._wait_for_size(at)
                try:
                    line = bytes(self._data[at:line_end])
                    size, _ = reader.parse_chunk_size(IterUnreader(()), line)
                except ChunkMissingTerminator:  # the last chunk; its trailers follow this line
                    at, is_whole = self._take_trailers(reader, at)
                    return is_whole
                if self._body.tell() + size > self._max_body:
                    raise BodyTooLarge
                data_end = line_end + size
                if not b"\r\n".startswith(self._data[data_end : data_end + 2]):
                    raise ChunkMissingTerminator(bytes(self._data[data_end : data_end + 2]))
                if len(self._data) < data_end + 2:
                    return False
                self._body.write(self._data[line_end:data_end])
                self._count_chunking(line_end + 2 - at)
                at = data_end + 2
        finally:
            del self._data[:at]

    def _wait_for_size(self, at: int) -> bool:
        if not _SIZE_SO_FAR.fullmatch(self._data, at):
            raise InvalidChunkSize(b"")
        self._count_chunking(0, len(self._data) - at)
        return False

    def _take_trailers(self, reader: ChunkedReader, at: int) -> tuple[int, bool]:
        """Return the end of a complete request, or the start of its last chunk, and which it is."""
        unreader = IterUnreader(())
        try:
            reader.parse_chunk_size(unreader, bytes(self._data[at:]))
        except ChunkMissingTerminator:
            self._count_chunking(0, len(self._data) - at)
            return at, False
        return len(self._data) - len(unreader.take_buffered()), True

    def _count_chunking(self, size: int, unfinished: int = 0) -> None:
        self._chunking += size
        if self._chunking + unfinished > MAX_CHUNKING:
            raise BodyTooLarge
