"""The server's parts read requests from pieces, and send answers; no server runs here."""

import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkSize,
    InvalidHeader,
    InvalidRequestLine,
    LimitRequestHeaders,
    ParseException,
)

from server.answers import Outbox, encode, send
from server.framing import MAX_CHUNKING, MAX_HEAD, BodyTooLarge, RequestReader, copy_settings
from tests.support.service import ROOT

MAX_BODY = 1000
HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def reader(data: bytes = b"") -> RequestReader:
    made = RequestReader(copy_settings(Config()), ("127.0.0.1", 1), MAX_BODY)
    made.feed(data)
    return made


def sized(length: object, body: bytes = b"") -> bytes:
    return HEAD + f"Content-Length: {length}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r", id="half-an-empty-line"),
        pytest.param(b"\r\nGET /", id="an-empty-line-before"),
        pytest.param(b"GET / HTTP/1.1\r", id="half-a-line-end"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="no-header-yet"),
        pytest.param(HEAD, id="half-a-head"),
        pytest.param(sized(5, b"1234"), id="half-a-body"),
        pytest.param(CHUNKED, id="no-chunk-yet"),
        pytest.param(CHUNKED + b"3", id="half-a-size"),
        pytest.param(CHUNKED + b"3e9", id="half-a-large-size"),
        pytest.param(CHUNKED + b"3 ;", id="half-an-extension"),
        pytest.param(CHUNKED + b"3\r\nabc\r", id="half-a-terminator"),
        pytest.param(CHUNKED + b"3\r\nabc\r\n0\r\n", id="no-end-of-the-trailers"),
        pytest.param(CHUNKED + b"0\r\nX: y\r\n", id="half-the-trailers"),
    ],
)
def test_the_reader_waits_for_the_rest_of_an_incomplete_request(data: bytes) -> None:
    assert reader(data).next_request() is None


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"\x16\x03\x01", InvalidRequestLine, id="tls"),
        pytest.param(b"hello\r\n", InvalidRequestLine, id="no-request-line"),
        pytest.param(b"GET / HTTP/1.1\n", InvalidRequestLine, id="bare-lf"),
        pytest.param(HEAD + b"X: y\n", InvalidHeader, id="bare-lf-in-the-head"),
        pytest.param(HEAD + b"X: " + b"y" * MAX_HEAD, LimitRequestHeaders, id="long-head"),
        pytest.param(
            HEAD + b"Transfer-Encoding: identity\r\n\r\n", InvalidHeader, id="identity-coding"
        ),
        pytest.param(sized(MAX_BODY + 1), BodyTooLarge, id="long-body"),
        pytest.param(CHUNKED + b"3e9\r\n", BodyTooLarge, id="long-chunk"),
        pytest.param(CHUNKED + b"ffffffffffffffffffff\r\n", BodyTooLarge, id="huge-chunk"),
        pytest.param(CHUNKED + b"6_", InvalidChunkSize, id="underscore-in-a-size"),
        pytest.param(CHUNKED + b"-", InvalidChunkSize, id="sign-before-a-size"),
        pytest.param(CHUNKED + b"5\n", InvalidChunkSize, id="bare-lf-after-a-size"),
        pytest.param(CHUNKED + b"1\r\naX", ChunkMissingTerminator, id="chunk-that-goes-on"),
        pytest.param(CHUNKED + b"1;" + b"x" * MAX_CHUNKING, ParseException, id="long-extension"),
        pytest.param(CHUNKED + b"0\r\nX: y\n", InvalidHeader, id="bare-lf-in-the-trailers"),
    ],
)
def test_bytes_that_cannot_become_a_request_are_refused_at_once(
    data: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        reader(data).next_request()


def test_a_body_with_too_much_chunking_is_refused() -> None:
    made = reader(CHUNKED)
    for _ in range(MAX_CHUNKING // 8010):
        made.feed(b"0" * 7999 + b"1\r\na\r\n")
        assert made.next_request() is None
    made.feed(b"0" * 7999 + b"1\r\na\r\n")
    with pytest.raises(BodyTooLarge):
        made.next_request()


@pytest.mark.parametrize("seed", range(5))
def test_a_body_is_the_same_however_it_was_cut(seed: int) -> None:
    rng = random.Random(seed)
    body = rng.randbytes(600)
    parts = [body[start : start + 7] for start in range(0, 600, 7)]
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in parts)
    data = sized(600, body) + CHUNKED + chunks + b"000\r\nX: y\r\n\r\n" + sized(0)
    found, made = [], reader()
    while data:
        length = rng.randrange(1, 30)
        made.feed(data[:length])
        data = data[length:]
        while request := made.next_request():
            found.append(request.body.read())
    assert found == [body, body, b""]
    assert made.is_empty
    assert made.size == 0


def test_a_request_keeps_its_head_while_its_body_is_awaited() -> None:
    made = reader(sized(5))
    assert made.next_request() is None
    assert made.request is not None
    assert made.request.path == "/x"
    assert not made.is_empty


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the server's and the client's side of a connection."""
    server, client = socket.socketpair()
    server.setblocking(False)
    with server, client:
        yield server, client


def test_a_client_that_reads_slowly_gets_the_whole_answer(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    answer = random.randbytes(1_000_000)
    got = bytearray()

    def take() -> None:
        while len(got) < len(answer) and (data := client.recv(50_000)):
            got.extend(data)
            time.sleep(0.02)

    taker = threading.Thread(target=take)
    taker.start()
    rest = memoryview(answer)
    deadline = time.monotonic() + 10
    while rest and time.monotonic() < deadline:
        rest = send(server, rest)
        time.sleep(0.001)
    taker.join(10)
    assert got == answer


@pytest.mark.parametrize("with_body", [True, False], ids=["get", "head"])
def test_a_last_answer_has_its_length_and_closes_the_connection(with_body: bool) -> None:
    data = encode("400 Bad Request", [("X", "y")], b"{}", with_body=with_body)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\nX: y\r\n")
    assert {b"Connection: close", b"Content-Length: 2"} <= set(head.split(b"\r\n"))
    assert body == (b"{}" if with_body else b"")


def test_an_outbox_collects_parts_of_files(tmp_path: Path) -> None:
    outbox = Outbox()
    outbox.sendall(b"1")
    path = tmp_path / "file"
    path.write_bytes(b"012345")
    with path.open("rb") as file:
        outbox.sendfile(file, 2, 3)
    assert outbox.getvalue() == b"1234"


def test_the_server_imports_nothing_of_the_service() -> None:
    code = "import sys, server.worker, server.logs; print([n for n in sys.modules if 'flow' in n])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
