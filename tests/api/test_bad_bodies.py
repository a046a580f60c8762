"""An invalid body is refused as a whole, on every route."""

import gzip
import json
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.assertions import assert_error
from tests.support.routes import (
    BODIES,
    BODILESS,
    LONG_NUMBER,
    MIB,
    assert_code,
    brief,
    send,
    send_bytes,
    send_chunked,
)
from tests.support.users import User

Subtests = pytest.Subtests


# fmt: off
INVALID_JSON = [
    b"", b" \n", b"null", b'[{"title": "x"}]', b'"title"', b"1", b"title=x",
    b'{"title": "x", "id": NaN}', b'{"id": [Infinity]}', b'{"id": {"a": -Infinity}}',
    b'{"title": "x"', b'{"title": "x"}{}', b'{"title": "x",}', b'{"id": "x"} //', b"{'id': 'x'}",
    b'{"title": 01}', b'{"title": True}', b'{"title": "\t"}', b'{"title": "\0"}', b'{"id": "x"}\0',
    b'{"title": "\\x41"}', gzip.compress(b'{"title": "x"}'), b'\xef\xbb\xbf{"title": "x"}',
    *('{"title": "é"}'.encode(name) for name in ("utf-16", "utf-16-le", "utf-32", "latin-1")),
    # Invalid UTF-8: an overlong NUL, a surrogate, and a code point beyond Unicode.
    b'{"title": "\xc0\x80"}', b'{"title": "\xed\xa0\x80"}', b'{"title": "\xf4\x90\x80\x80"}',
    b'{"title": %s}' % LONG_NUMBER.encode(), b'{"title": "x", "id": [-%s]}' % LONG_NUMBER.encode(),
    b"[" * 100_000, b'{"a":' * 100_000, b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"title": "x", "title": "x"}', b'{"title": "x", "\\u0074itle": "x"}',
    b'{"title": "x", "id": [{"a": {"b": 1, "b": 1}}]}',
]
NOT_JSON = [
    "", "text/plain", "text/json", "application/jsonx", "application/json-patch+json", "\xff",
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "*/*", "json",
    "application/json, text/plain", "text/plain; a=application/json",
]
# fmt: on


@pytest.mark.parametrize("route", BODIES)
def test_a_body_that_is_not_a_json_object_is_refused(
    alice: User, subtests: Subtests, route: str
) -> None:
    for body in INVALID_JSON:
        with subtests.test(brief(body)):
            assert_error(send_bytes(alice, route, body), 400, "invalid_json")


def test_deep_nesting_never_causes_an_internal_error(alice: User) -> None:
    answers = set()
    for depth in range(850, 1000):  # around Python's limit, where a body may or may not parse
        body = b'{"title": "x", "id": ' + b"[" * depth + b"]" * depth + b"}"
        key = {"Idempotency-Key": str(depth)}  # makes the service traverse the body again
        response = send_bytes(alice, "POST /tasks", body, headers=key)
        answers.add((response.status_code, response.json.get("error", {}).get("code")))
    assert answers <= {(201, None), (400, "invalid_json")}


@pytest.mark.parametrize("route", [*BODIES, *BODILESS])
def test_a_body_must_be_declared_as_json(alice: User, subtests: Subtests, route: str) -> None:
    body = json.dumps(BODIES.get(route, {})).encode()
    for content_type in NOT_JSON:
        with subtests.test(brief(content_type)):
            response = send_bytes(alice, route, body, content_type=content_type)
            assert_error(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("transfer", [send_bytes, send_chunked], ids=["with a length", "chunked"])
@pytest.mark.parametrize("route", [*BODIES, *BODILESS])
def test_a_body_may_have_one_mebibyte_at_most(
    alice: User, route: str, transfer: Callable[..., TestResponse]
) -> None:
    body = json.dumps(BODIES.get(route, {})).encode()
    for size in (MIB + 1, 2 * MIB):
        assert_error(transfer(alice, route, body.ljust(size)), 413, "payload_too_large")
    response = transfer(alice, route, body.ljust(MIB))
    if route.endswith("/reset"):  # the body is accepted, but its token is not valid
        assert_error(response, 401, "auth_invalid")
    else:
        assert response.status_code < 300


@pytest.mark.parametrize("route", BODIES)
def test_an_unknown_field_is_refused_by_name(alice: User, route: str) -> None:
    for name in ("isAdmin", "", "Title", "title ", "a.b", "__proto__", "\0", "user_id"):
        response = send(alice, route, json={**BODIES[route], name: [None]})
        assert_error(response, 400, "validation_error", name)
    for names in (["\ud800"], ["k" * 500_000], [f"field{i}" for i in range(10_000)]):
        response = send(alice, route, json={**BODIES[route], **dict.fromkeys(names)})
        assert_code(response, 400, "validation_error")
        assert len(response.data) < 10_000  # the answer does not repeat the request


@pytest.mark.parametrize("route", BODIES)
def test_an_empty_object_is_refused(alice: User, route: str) -> None:
    response = send(alice, route, json={})
    assert_code(response, 400, "validation_error")
    if "{task}" not in route:
        assert_error(response, 400, "validation_error", *BODIES[route])


@pytest.mark.parametrize("route", BODILESS)
def test_a_route_without_a_body_accepts_only_an_empty_one(
    app: Flask, alice: User, route: str
) -> None:
    for transfer in (send_bytes, send_chunked):
        assert_error(transfer(alice, route, b'{"x": 1}'), 400, "validation_error", "x")
        assert_error(transfer(alice, route, b"[]"), 400, "invalid_json")
        assert_error(transfer(alice, route, b'{"x": 1, "x": 1}'), 400, "invalid_json")
    for body in (b"", b"{}"):
        user = User(app, f"{len(body)}@example.com")
        assert send_bytes(user, route, body).status_code < 300


@pytest.mark.parametrize("path", ["/health", "/health/live", "/openapi.json"])
def test_health_and_openapi_accept_neither_body_nor_query(client: FlaskClient, path: str) -> None:
    assert client.get(path, json={}).status_code == 200
    assert_error(client.get(path, json={"x": 1}), 400, "validation_error", "x")
    assert_error(client.get(path, data=b"x"), 415, "unsupported_media_type")
    for query in ("?x=1", "?x", "?x=%FF", "?x=%00"):
        assert_error(client.get(path + query), 400, "validation_error", "x")
