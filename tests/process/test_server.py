"""How much of a request is still missing, and what is read, checked and sent by ourselves."""

import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidResponseHeader
from taskflow.wire import MAX_HEAD, MAX_REQUEST, PEEK, Response, Unreader, missing, send

from taskflow import wire
from taskflow.http.parsing import MAX_BODY

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def sized(length: object, body: bytes = b"") -> bytes:
    return HEAD + f"Content-Length: {length}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (b"", 1),
        (b"GET / HTTP/1.1\r\n", 1),
        (HEAD, 1),
        (HEAD + b"\r\n", 0),
        (HEAD + b"X-Content-Length: 5\r\n\r\n", 0),
        (sized(5), 5),
        (sized(5, b"12345"), 0),
        (sized(5, b"12345GET / HTTP/1.1\r\n"), 0),
        (sized(MAX_BODY), MAX_BODY),
        (sized(MAX_BODY + 1), -1),
        (HEAD + b"\r\nContent-Length: 5\r\n\r\n", 0),  # of a request that comes after
        (CHUNKED, 5),
        (CHUNKED + b"3", 4),
        (CHUNKED + b"3;x=y\r\n", 10),
        (CHUNKED + b"3\r\nabc\r\n", 5),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", 1),
        (CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", 0),
        (CHUNKED + b"0\r\nX: y\r\n", 1),
        (CHUNKED + b"0\r\nX: y\r\n\r\n", 0),
        (CHUNKED + b"-3\r\n", -1),
        (CHUNKED + b"x\r\n", -1),
        (CHUNKED + b"%x\r\n" % (MAX_BODY * 100), MAX_REQUEST - len(CHUNKED) - 9),
        (CHUNKED + b"%x\r\n" % (MAX_BODY * 100) + b"a" * MAX_REQUEST, -1),
        (CHUNKED + b"1\r\na\r\n" * (MAX_REQUEST // 6), -1),
        (sized("0000000005"), 5),
        (sized(10**10), -1),
        (b"a" * (MAX_HEAD + 1), -1),
        (HEAD + b"X: y\r\n" * 20_000 + b"\r\n", -1),
    ],
)
def test_it_is_the_least_that_can_still_come(data: bytes, more: int) -> None:
    assert missing(data)[0] == more


def test_it_goes_on_where_it_stopped() -> None:
    rng = random.Random(1)
    body = b"".join(b"%x\r\n%s\r\n" % (n, b"a" * n) for n in range(1, 100)) + b"0\r\n\r\n"
    data, length, start = CHUNKED + body, 0, 0
    while length < len(data):
        length = min(length + rng.randrange(1, 50), len(data))
        more, start = missing(data[:length], start)
        assert more == missing(data[:length])[0]
        assert 0 < more <= len(data) - length or length == len(data)
    assert more == 0
    assert start == len(data) - len(b"0\r\n\r\n")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's and the client's side of a connection."""
    server, client = socket.socketpair()
    server.setblocking(False)
    with server, client:
        yield server, client


def test_who_pipelines_fills_no_memory(pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    client.sendall(b"x" * 100_000)
    reader = Unreader(server)
    lengths = [len(reader.take()) for _ in range(5)]
    assert PEEK <= lengths[0] == lengths[-1] < 2 * PEEK


def test_a_client_that_takes_its_time_gets_all_of_an_answer(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "SEND_SECONDS", 0.1)
    server, client = pair
    answer = random.randbytes(1_000_000)
    got = bytearray()

    def take() -> None:
        while len(got) < len(answer) and (data := client.recv(50_000)):
            got.extend(data)
            time.sleep(0.02)

    taker = threading.Thread(target=take)
    taker.start()
    send(server, answer)
    taker.join(10)
    assert got == answer


def test_a_client_that_takes_nothing_is_given_up(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "SEND_SECONDS", 0.1)
    monkeypatch.setattr(wire, "SLOWEST", 10_000_000)
    with pytest.raises(TimeoutError):
        send(pair[0], b"x" * 1_000_000)


@pytest.mark.parametrize(
    "header", [("X", "a\r\nb"), ("X", "a\0"), ("X", "\u20ac"), ("X Y", "a"), ("X\n", "a")]
)
def test_a_header_that_would_break_an_answer_is_refused(header: tuple[str, str]) -> None:
    response = Response(None, None, Config())
    with pytest.raises(InvalidResponseHeader):
        response.process_headers([("Content-Type", "text/plain"), header])
