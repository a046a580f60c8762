"""A request that the application never sees gets an answer like every other error."""

import json
import time
import uuid
from collections.abc import Iterator

import pytest

from tests.support.service import Service, free_port
from tests.support.wire import Reply, Wire, ask, replies, request

NOWHERE = f"postgresql://127.0.0.1:{free_port()}/taskflow"
ORIGIN = "https://app.example.com"
LIMIT = 1024 * 1024


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service(NOWHERE, WEB_WORKER="buffered", CORS_ORIGINS=ORIGIN)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def echo() -> Iterator[Service]:
    made = Service(NOWHERE, app="tests.support.echo:app", WEB_WORKER="buffered")
    yield made
    made.stop()


def error_of(reply: Reply) -> dict[str, str]:
    error = json.loads(reply.body)["error"]
    assert reply.headers["x-correlation-id"] == error["correlationId"]
    return error


def test_a_refusal_has_the_headers_of_any_other_answer(service: Service) -> None:
    [known] = ask(service.port, request("GET", "/nowhere"))
    [refused] = ask(service.port, b"hello\r\n")
    assert (known.status, refused.status) == (404, 400)
    changing = {"date", "content-length", "connection", "x-correlation-id"}
    kept = {name for name in known.headers if name not in changing and "access" not in name}
    assert {name: refused.headers.get(name) for name in kept} == {
        name: known.headers[name] for name in kept
    }
    assert {"strict-transport-security", "content-security-policy", "cache-control"} <= kept
    assert refused.headers["connection"] == "close"


def test_a_refusal_without_a_valid_head_gets_a_new_correlation_id(service: Service) -> None:
    [reply] = ask(service.port, b"GET / HTTP/1.1\r\nX-Correlation-ID: mine\nX: y\r\n\r\n")
    error = error_of(reply)
    assert error["code"] == "validation_error"
    assert uuid.UUID(error["correlationId"])


def test_a_body_over_the_limit_is_refused_before_it_is_sent(service: Service) -> None:
    fields = (f"Content-Length: {LIMIT + 1}", "X-Correlation-ID: mine", f"Origin: {ORIGIN}")
    with Wire(service.port, request("POST", "/x", b"", *fields, "Expect: 100-continue")) as wire:
        [reply] = replies(wire.sock.recv(65536))
    assert reply.status == 413
    assert error_of(reply)["code"] == "payload_too_large"
    assert reply.cid == "mine"
    assert reply.headers["access-control-allow-origin"] == ORIGIN


def test_a_refusal_to_head_has_no_body(service: Service) -> None:
    data = request("HEAD", "/x", b"", f"Content-Length: {LIMIT + 1}")
    with Wire(service.port, data) as wire:
        [reply] = replies(wire.rest(), to_head=True)
    assert (reply.status, reply.body) == (413, b"")
    assert int(reply.headers["content-length"]) > 0


def test_a_request_that_is_not_complete_in_time_gets_408(service: Service) -> None:
    started = time.monotonic()
    with Wire(service.port, request("POST", "/x", b"", "Content-Length: 5")) as half:
        half.sock.settimeout(20)
        with Wire(service.port) as silent:
            silent.sock.settimeout(20)
            [reply] = replies(half.sock.recv(65536))
            assert 9 < time.monotonic() - started < 15
            assert silent.sock.recv(1) == b""  # no answer, because this client sent nothing
        assert half.sock.recv(1) == b""
    assert reply.status == 408
    assert error_of(reply)["code"] == "request_timeout"


def test_a_refusal_is_logged_in_one_line_that_quotes_nothing() -> None:
    service = Service(NOWHERE, WEB_WORKER="buffered")
    [reply] = ask(service.port, b"GET / HTTP/1.1\r\nAuthorization Bearer secret\r\n\r\n")
    lines = service.stop()
    [line] = [line for line in map(json.loads, lines) if line["logger"] == "taskflow.refusals"]
    assert (line["status"], line["errorCode"]) == (400, "validation_error")
    assert (line["reason"], line["remoteAddr"]) == ("InvalidHeader", "127.0.0.1")
    assert line["correlationId"] == reply.cid
    assert "secret" not in "".join(lines)


def test_an_answer_without_headers_is_passed_on(echo: Service) -> None:
    with Wire(echo.port, request("GET", "/bare", version="1.0")) as wire:
        head, _, body = wire.rest().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK")
    assert body == b"bare"


def test_an_application_that_fails_in_the_middle_of_an_answer_gets_500(echo: Service) -> None:
    first, second = request("GET", "/broken"), request("GET", "/")
    [reply] = ask(echo.port, first + second)
    assert reply.status == 500
    assert error_of(reply)["code"] == "internal_error"


@pytest.mark.parametrize("pieces", [1, 3, 50], ids=["whole", "in-three", "in-fifty"])
def test_a_body_of_the_largest_size_arrives_whole(echo: Service, pieces: int) -> None:
    body = b"x" * LIMIT
    with Wire(echo.port, request("POST", "/", b"", f"Content-Length: {LIMIT}")) as wire:
        step = LIMIT // pieces
        for start in range(0, LIMIT, step):
            wire.sock.sendall(body[start : start + step])
        [reply] = replies(wire.rest())
    assert reply.body == b"POST / " + body
