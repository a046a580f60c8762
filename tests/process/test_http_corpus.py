"""Both workers agree on valid and invalid requests, however the bytes are split into pieces."""

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.http_corpus import CASES, Case, post
from tests.support.service import Service, free_port
from tests.support.wire import Reply, Wire, replies

NOWHERE = f"postgresql://127.0.0.1:{free_port()}/taskflow"
AT_ONCE = 3  # seconds, on a busy machine; a request that is waited for is refused after 10

Cut = Callable[[bytes], list[bytes]]


def whole(data: bytes) -> list[bytes]:
    return [data]


def by_bytes(data: bytes) -> list[bytes]:
    if len(data) > 2000:  # the same, faster
        return random_cuts(data)
    return [data[at : at + 1] for at in range(len(data))]


def random_cuts(data: bytes) -> list[bytes]:
    rng = random.Random(len(data))
    cuts = sorted(rng.sample(range(len(data)), min(len(data), 5)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.fixture(scope="module", params=["buffered", "gthread"])
def server(request: pytest.FixtureRequest) -> Iterator[Service]:
    service = Service(
        NOWHERE, app="tests.support.echo:app", WEB_WORKER=request.param, LOG_LEVEL="error"
    )
    yield service
    service.stop()


@pytest.fixture(scope="module")
def buffered() -> Iterator[Service]:
    service = Service(
        NOWHERE, app="tests.support.echo:app", WEB_WORKER="buffered", LOG_LEVEL="error"
    )
    yield service
    service.stop()


def send(port: int, pieces: list[bytes], *, ends: bool) -> list[Reply]:
    """Send pieces that arrive one by one, perhaps end our side, and return the answers."""
    with Wire(port) as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # the request was refused before its end
            for piece in pieces:
                wire.sock.sendall(piece)
                if len(pieces) < 10:
                    time.sleep(0.002)
            if ends:
                wire.sock.shutdown(socket.SHUT_WR)
        return replies(read(wire.sock))


def read(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(65536):
            data += piece
    return data


@pytest.mark.parametrize("cut", [whole, by_bytes, random_cuts])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_both_workers_agree_on_a_request(server: Service, case: Case, cut: Cut) -> None:
    found = send(server.port, cut(case.data), ends=True)
    answered = [reply for reply in found if reply.status == 200]
    refused = found[len(answered) :]
    assert tuple(reply.body for reply in answered) == case.answers
    assert len(refused) <= case.refused
    assert all(400 <= reply.status < 500 or reply.status == 501 for reply in refused)


REFUSED = [case for case in CASES if case.refused and not case.cut_off]


@pytest.mark.parametrize("cut", [whole, by_bytes, random_cuts])
@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_an_invalid_request_is_refused_at_once(buffered: Service, case: Case, cut: Cut) -> None:
    started = time.monotonic()
    *_, reply = send(buffered.port, cut(case.data), ends=False)
    assert time.monotonic() - started < AT_ONCE
    assert (reply.status, reply.complaint()) == (400, "")


def test_half_a_body_is_refused(buffered: Service) -> None:  # gthread passes it on
    [reply] = send(buffered.port, [post(b"Content-Length: 5\r\n", b"hell")], ends=True)
    assert (reply.status, reply.complaint()) == (400, "")
