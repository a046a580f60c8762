"""Clients that are slow, endless, broken or malicious do no harm to other clients."""

import json
import random
import re
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.support.database import run_sql
from tests.support.drills import SHORT
from tests.support.load import Answer, Client, Record
from tests.support.mutations import mutate, templates
from tests.support.postgres import Postgres
from tests.support.service import Service, serving
from tests.support.shapes import (
    AFTER,
    ANSWERED,
    BAD_CHUNKS,
    BODY,
    CHUNKED,
    CREDENTIALS,
    END,
    JSON,
    LENGTH,
    LIVE,
    LOGIN,
    REFUSED,
    TASKS,
    chunk,
    chunked,
    login,
)
from tests.support.wire import NEW_ID, Crowd, Output, Reply, Wire, ask, outcome, replies, request

MIB = 1024 * 1024
LONGEST = 5  # seconds that another client waits at most, on a busy machine


class Target:
    """The service that is attacked, one of its users, and the service's output."""

    def __init__(self, service: Service, database: str) -> None:
        self.service, self.port, self.database = service, service.port, database
        self.output = Output(service)
        _, session, _ = service.request("POST", "/api/v1/auth/register", CREDENTIALS)
        self.token = session["accessToken"]
        self.bearer = f"Authorization: Bearer {self.token}"

    def others(self, seconds: float) -> Record:
        """Send requests as another client for some seconds, and return a record of the answers.

        Uses a connection that is kept alive, and new ones.
        """
        record, kept, until = Record(), Client(self.port, self.token), time.monotonic() + seconds
        while time.monotonic() < until:
            fresh = Client(self.port, self.token)
            for client, path in ((kept, TASKS), (fresh, TASKS), (fresh, LIVE)):
                started = time.monotonic()
                status, _, _ = client("GET", path)
                now = time.monotonic()
                record.answers.append(Answer(now, now - started, "GET", status, "", False))
            fresh.close()
            time.sleep(0.05)
        kept.close()
        return record

    def send(self, data: bytes) -> list[Reply]:
        """Send bytes on a new connection, and return the answers."""
        return ask(self.port, data)


@pytest.fixture(scope="module")
def attacked() -> Iterator[Target]:
    postgres = Postgres()
    try:
        url = postgres.create().url()
        with serving(url, LOG_LEVEL="info", MAX_TASKS_PER_USER="1000000") as service:
            target = Target(service, url)
            try:
                yield target
            finally:
                target.output.end()
    finally:
        postgres.remove()


@pytest.fixture
def target(attacked: Target) -> Iterator[Target]:
    """Return the service of all these drills; after each one it must answer, without an error."""
    attacked.output.lines.clear()
    yield attacked
    assert [reply.status for reply in attacked.send(request("GET", LIVE))] == [200]
    assert attacked.others(0.1).statuses().keys() == {200}
    assert attacked.output.errors() == []


# Slow clients: each sends a beginning at once, and then the rest at a byte a second.

POST = request("POST", LOGIN, b"", JSON)[:-2]
PROBE = request("GET", LIVE)[:-2]
CHUNKS = CHUNKED.encode()
SLOW = {
    "nothing": (b"", b""),
    "half a line": (b"GET /hea", b"l" * 60),
    "half a head": (b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"y" * 60),
    "half a body": (POST + b'Content-Length: 200\r\n\r\n{"email": "', b"y" * 60),
    "half a chunk": (POST + b'Transfer-Encoding: chunked\r\n\r\n80\r\n{"email": "', b"y" * 60),
    "many chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 10),
    "a long head": (POST + b"X: HTTP/1.1\r\n" * 4500 + CHUNKS + b"\r\n\r\n", b"1\r\n \r\n" * 10),
    "when asked": (POST + b"Expect: 100-continue\r\nContent-Length: 200\r\n\r\n", b"y" * 60),
    "too much": (POST + b"Content-Length: 104857600\r\n\r\n", b"y" * 60),
    "a long length": (POST + b"Content-Length: 0000000000200\r\n\r\n", b"y" * 60),
    "much too much": (POST + b"Content-Length: 10000000000\r\n\r\n", b"y" * 60),
    "one huge chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n6400000\r\n", b"y" * 60),
    "to a probe": (PROBE + b"Content-Length: 0000000000200\r\n\r\n", b"y" * 60),
    "chunks to a probe": (PROBE + b"Transfer-Encoding: chunked\r\n\r\n6400000\r\n", b"y" * 60),
}
GONE_SILENT = {
    "an old one": request("GET", LIVE, version="1.0"),
    "the last one": request("GET", LIVE, b"", "Connection: close"),
    "no HTTP": b"\x16\x03\x01 no HTTP\r\n\r\n",
}


def test_two_hundred_slow_clients_hold_up_no_other_client(target: Target, figures: Any) -> None:
    clients = [*SLOW.values()] * 16
    with Crowd(target.port, clients):
        record = target.others(4 if SHORT else 30)
    figures(record, slow_clients=len(clients))
    assert record.statuses().keys() == {200}
    assert record.longest() < LONGEST


def test_clients_that_do_not_close_hold_up_no_other_client(target: Target, figures: Any) -> None:
    clients = [(data, b"") for data in GONE_SILENT.values()] * 60
    with Crowd(target.port, clients):
        record = target.others(1 if SHORT else 10)
    figures(record, left_open=len(clients))
    assert record.statuses().keys() == {200}
    assert record.longest() < LONGEST


def test_clients_that_do_not_read_hold_up_no_other_client(target: Target, figures: Any) -> None:
    data = request("GET", "/openapi.json") * 160  # 9 MB of answers
    with Crowd(target.port, [(data, b"")] * 8):
        record = target.others(1)
    figures(record, unread=8)
    assert record.statuses().keys() == {200}
    assert record.longest() < 2 * LONGEST  # after 5 s each thread gives up on one of these clients


def test_bodies_that_never_end_do_not_fill_the_memory(target: Target, figures: Any) -> None:
    head = request("POST", TASKS, b"", JSON, target.bearer, f"Content-Length: {MIB}")
    with Crowd(target.port, [(head + b" " * (MIB - 1), b"")] * 150):
        record = target.others(1 if SHORT else 10)
        [worker] = target.service.workers()
        memory = psutil.Process(worker).memory_info().rss // MIB
    figures(record, bodies=150, worker_mib=memory)
    assert record.statuses().keys() == {200}
    assert record.longest() < LONGEST
    assert memory < 200  # the received bytes stay in the kernel


def test_a_stop_does_not_wait_for_clients_that_say_nothing(target: Target, figures: Any) -> None:
    with serving(target.database) as service, Crowd(service.port, [(b"", b"")] * 16):
        time.sleep(6)  # gunicorn waits 5 s for each client before it parks the connection
        started = time.monotonic()
        service.stop()
        took = time.monotonic() - started
    figures(silent=16, took=took)
    assert service.process.returncode == 0
    assert took < 10


# Bodies beyond the limit.


@pytest.mark.parametrize("transfer", ["announced", "in chunks", "in one chunk"])
def test_a_hundred_megabytes_are_refused_unread(
    target: Target, figures: Any, transfer: str
) -> None:
    framing = "Content-Length: 104857600" if transfer == "announced" else CHUNKED
    piece = b" " * 65536
    for path in (TASKS, LOGIN):
        head = request("POST", path, b"", JSON, target.bearer, framing)
        if transfer == "in one chunk":
            head += b"6400000\r\n"
        elif transfer == "in chunks":
            piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        with Wire(target.port, head) as wire:
            answer, before, sent = wire.pump(piece, 100 * MIB)
        figures(path=path, kib_before_the_answer=before // 1024, kib_in_all=sent // 1024)
        assert [(reply.status, reply.complaint()) for reply in replies(answer)] == [(413, "")]
        assert before <= (0 if transfer == "announced" else 3 * MIB)
        assert sent <= 4 * MIB


# Requests that two parsers may read differently, and broken requests.


def test_an_ambiguous_request_is_refused(target: Target, figures: Any) -> None:
    pattern = re.compile(f"400 of (first|{NEW_ID})")
    found = {name: outcome(target.port, data + AFTER) for name, data in REFUSED.items()}
    wrong = {name: what for name, what in found.items() if not pattern.fullmatch(what)}
    figures(requests=len(found), **Counter(what[:3] for what in found.values()))
    assert wrong == {}, wrong.values()


@pytest.mark.parametrize("path", [LOGIN, LIVE, TASKS, "/nowhere"])
def test_a_bad_chunk_ends_a_request_with_one_answer(
    target: Target, figures: Any, path: str
) -> None:
    pattern = re.compile(f"4[0-9]{{2}} of (first|{NEW_ID})")
    found = {n: outcome(target.port, chunked(d, path) + AFTER) for n, d in BAD_CHUNKS.items()}
    wrong = {name: what for name, what in found.items() if not pattern.fullmatch(what)}
    figures(requests=len(found), **Counter(what[:3] for what in found.values()))
    assert wrong == {}, wrong.values()


def test_a_hidden_second_request_is_never_answered(target: Target, figures: Any) -> None:
    found = {name: outcome(target.port, data + AFTER) for name, (_, data) in ANSWERED.items()}
    figures(requests=len(found))
    assert found == {n: f"{status} of first, 200 of after" for n, (status, _) in ANSWERED.items()}


def test_requests_may_come_all_at_once_and_are_answered_in_order(target: Target) -> None:
    data, body = b"", b'{"title": "x"}'
    for number in range(0, 100, 2):
        data += request("POST", TASKS, body, target.bearer, f"X-Correlation-ID: {number}")
        data += request("GET", LIVE, b"", f"X-Correlation-ID: {number + 1}")
    found = target.send(data)
    assert [reply.cid for reply in found] == [str(number) for number in range(100)]
    assert [reply.status for reply in found] == [201, 200] * 50


def test_a_client_that_expects_100_continue_gets_it(target: Target) -> None:
    with Wire(target.port, login("Expect: 100-continue", LENGTH)) as wire:
        assert wire.sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sock.sendall(BODY)
        [reply] = replies(wire.rest())
    assert (reply.status, reply.cid) == (200, "first")


def test_a_tls_handshake_is_refused(target: Target) -> None:
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="x.com")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    found = target.send(outgoing.read())
    assert [(reply.status, reply.complaint()) for reply in found] == [(400, "")]


def test_an_incomplete_request_of_a_client_that_goes_away_has_no_effect(
    target: Target, figures: Any
) -> None:
    body = b'{"title": "Cut off"}' + b" " * 10
    whole = request("POST", TASKS, body, target.bearer)
    parts = request("POST", TASKS, b"", target.bearer, JSON, CHUNKED) + chunk(body) + END
    answers: Counter[int] = Counter()
    for data in (whole, parts):
        for length in (*range(0, len(data) - 40, 20), *range(len(data) - 40, len(data))):
            Wire(target.port, data[:length]).reset()
            for reply in target.send(data[:length]):
                assert reply.complaint() == ""
                answers[reply.status] += 1
    time.sleep(0.5)
    made = run_sql(target.database, "SELECT count(*) FROM tasks WHERE title = 'Cut off'")
    figures(answers=dict(answers), made=made[0][0])
    assert made == [(0,)]


def test_thousands_of_broken_requests_break_nothing(target: Target, figures: Any) -> None:
    [reply] = target.send(request("POST", TASKS, b'{"title": "x"}', target.bearer))
    valid = templates(target.bearer, json.loads(reply.body)["id"])
    rng = random.Random(1)
    answers: Counter[str] = Counter()
    complaints, longest = [], 0.0
    for _ in range(1500 if SHORT else 5000):
        data = mutate(rng, valid)
        started = time.monotonic()
        try:
            with Wire(target.port, data) as wire:
                raw = wire.rest()
            try:
                found = replies(raw)
            except ValueError:
                found = replies(raw, to_head=True)
        except (TimeoutError, ValueError) as error:
            complaints.append((repr(error), data))
            found = []
        longest = max(longest, time.monotonic() - started)
        complaints += [(reply.complaint(), data) for reply in found if reply.complaint()]
        answers.update(str(r.status) for r in found)
        answers["none"] += not found
    figures(answers=dict(sorted(answers.items())), longest=longest, complaints=len(complaints))
    assert complaints[:3] == []
