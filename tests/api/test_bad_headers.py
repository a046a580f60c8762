"""An invalid header or id is refused or ignored, and never causes an internal error."""

from base64 import urlsafe_b64encode

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.assertions import assert_error
from tests.support.routes import BODIES, LONG_NUMBER, MIB, brief, send, send_bytes
from tests.support.users import User

Subtests = pytest.Subtests
UNKNOWN = "01890000-0000-7000-8000-000000000000"


def jws(header: bytes) -> str:
    return f"{urlsafe_b64encode(header).decode().rstrip('=')}.e30.eA"


# fmt: off
NO_ETAGS = [
    "", "x", "1", '"1', '1"', "'1'", "W/1", 'w/"1"', "**", '*, "1"', '"1" "2"', '"1";', ",",
    '"a b"', '"1"\0', '"\0"', '"1", x', '"a",' * 10_000 + "x", "," * 100_000,
]
OTHER_ETAGS = [
    f'"{LONG_NUMBER}"', '"2147483648"', '"-1"', '"01"', '"\xff"', '""', '"a",' * 10_000 + '"b"',
]
NO_KEYS = ["", " ", "a b", "a\tb", "é", "a\xa0", "\0", "a\x7f", "k" * 256, "k" * 50_000]
UNSAFE_IDS = ["", " ", "a b", "a/b", "a,b", "é", "a\0", "a\t", "<x>", "a\x7f", "x" * 129]
NO_TOKENS = {
    "one letter": "x", "two dots": "..", "three letters": "a.b.c", "not ASCII": "\xff", "NUL": "\0",
    "10,000 dots": "." * 10_000, "100,000 letters": "x" * 100_000, "letters not ASCII": "é.é.é",
    "arrays nested too deeply": jws(b"[" * 5000), "objects nested too deeply": jws(b'{"a":' * 5000),
    "long number": jws(LONG_NUMBER.encode()),
    **{f"header {header!a}": jws(header) for header in (
        b"\xff", b"null", b"[]", b"{}", b'{"alg": "none"}', b'{"alg": []}', b'{"alg": {}}',
        b'{"alg": "HS256", "kid": 1}', b'{"alg": "HS256", "crit": 1}', b'{"alg": "\\ud800"}',
        b'{"alg": "HS256"}',
    )},
}
NO_BEARERS = ["Basic {}", "{}", "Bearer {} x", "Bearer {}, Basic x", "Bearer\xa0{}", "Bearer {}."]
NO_CSRF_TOKENS = ["", "x", "{}x", " {}", "{}, {}", "\xff{}", "\0", "x" * 50_000]
NO_IDS = [
    "x", "%00", "%FF", "%ED%A0%80", "%F0%9F%9A%80", UNKNOWN[:-1], f"{UNKNOWN}%0A", f"%20{UNKNOWN}",
    UNKNOWN.replace("-", ""), f"urn:uuid:{UNKNOWN}", ";x=1", "..", "x" * 50_000,
]
# fmt: on


def test_a_malformed_etag_is_refused(alice: User, subtests: Subtests) -> None:
    for tag in NO_ETAGS:
        with subtests.test(brief(tag)):
            for route in ("PUT /tasks/{task}", "PATCH /tasks/{task}", "DELETE /tasks/{task}"):
                body = {"json": BODIES[route]} if route in BODIES else {}
                response = send(alice, route, headers={"If-Match": tag}, **body)
                assert_error(response, 400, "validation_error", "If-Match")
            response = send(alice, "GET /tasks/{task}", headers={"If-None-Match": tag})
            assert_error(response, 400, "validation_error", "If-None-Match")
    assert alice.titles("?limit=100") == ["Buy milk"] * 4 * len(NO_ETAGS)


def test_an_unknown_etag_matches_nothing(alice: User, subtests: Subtests) -> None:
    for tag in OTHER_ETAGS:
        with subtests.test(brief(tag)):
            response = send(alice, "GET /tasks/{task}", headers={"If-None-Match": tag})
            assert response.status_code == 200
            response = send(alice, "DELETE /tasks/{task}", headers={"If-Match": tag})
            assert_error(response, 412, "precondition_failed")


def test_an_idempotency_key_must_be_visible_ascii(alice: User, subtests: Subtests) -> None:
    for key in NO_KEYS:
        with subtests.test(brief(key)):
            response = alice.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": key})
            assert_error(response, 400, "validation_error", "Idempotency-Key")
    assert alice.titles() == []


@pytest.mark.parametrize(
    "key",
    ["k" * 255, "!", "".join(map(chr, range(0x21, 0x7F)))],
    ids=["255 characters", "one character", "all of visible ASCII"],
)
def test_an_invalid_body_does_not_use_up_its_idempotency_key(alice: User, key: str) -> None:
    headers = {"Idempotency-Key": key}
    for body in (b"", b"{", b"{}", b'{"title": 1}', b'{"title": "x", "y": 1}', b" " * (MIB + 1)):
        assert send_bytes(alice, "POST /tasks", body, headers=headers).status_code in (400, 413)
    first, again = (alice.post("/tasks", {"title": "x"}, headers=headers) for _ in range(2))
    assert (first.status_code, again.json) == (201, first.json)
    assert alice.titles() == ["x"]


def test_an_unsafe_correlation_id_is_replaced(client: FlaskClient, subtests: Subtests) -> None:
    for bad in UNSAFE_IDS:
        for headers, expected in (
            ({"X-Correlation-ID": bad}, None),
            ({"X-Request-ID": bad}, None),
            ({"X-Correlation-ID": bad, "X-Request-ID": "x" * 128}, "x" * 128),
            ({"X-Correlation-ID": "Az09._-", "X-Request-ID": bad}, "Az09._-"),
        ):
            with subtests.test(brief(headers)):
                response = client.get("/nowhere", headers=headers)
                assert_error(response, 404, "not_found")
                answered = response.headers["X-Correlation-ID"]
                assert answered == expected if expected else len(answered) == 36


@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS)
def test_a_malformed_token_is_refused(app: Flask, token: str) -> None:
    client = app.test_client(use_cookies=False)
    bearer, access, refresh = f"Bearer {token}", f"access_token={token}", f"refresh_token={token}"
    for method, path, cookie in (
        ("GET", "tasks", access),
        ("POST", "auth/refresh", refresh),
        ("POST", "auth/logout", refresh),
        ("POST", "auth/logout", access),
    ):
        for headers in ({"Authorization": bearer}, {"Cookie": cookie}):
            response = client.open(f"/api/v1/{path}", method=method, headers=headers)
            assert_error(response, 401, "auth_invalid")


@pytest.mark.parametrize("header", NO_BEARERS, ids=brief)
def test_an_authorization_header_without_a_single_bearer_is_refused(
    alice: User, header: str
) -> None:
    headers = {"Authorization": header.replace("{}", alice.token)}
    scheme, _, token = headers["Authorization"].strip().partition(" ")
    code = "auth_invalid" if scheme.lower() == "bearer" and token.strip() else "auth_missing"
    assert_error(alice.get("/tasks", headers=headers), 401, code)


@pytest.mark.parametrize("path", ["tasks", "auth/refresh", "auth/logout"])
def test_a_wrong_csrf_token_is_refused(client: FlaskClient, subtests: Subtests, path: str) -> None:
    body = BODIES["POST /auth/register"]
    token = client.post("/api/v1/auth/register", json=body).json["csrfToken"]
    assert_error(client.post(f"/api/v1/{path}", json={}), 403, "csrf_failed")
    for sent in NO_CSRF_TOKENS:
        with subtests.test(brief(sent)):
            headers = {"X-CSRF-Token": sent.replace("{}", token)}
            response = client.post(f"/api/v1/{path}", json={}, headers=headers)
            assert_error(response, 403, "csrf_failed")


@pytest.mark.parametrize("route", ["POST /auth/register", "POST /auth/login"])
@pytest.mark.parametrize(
    "value",
    ["", "\0", "a\0b", "\xff", "\x01\x7f", "x" * 50_000],
    ids=["empty", "NUL", "NUL inside", "not ASCII", "control characters", "50,000 characters"],
)
def test_a_session_begins_with_any_user_agent(alice: User, route: str, value: str) -> None:
    response = send(alice, route, json=BODIES[route], headers={"User-Agent": value})
    assert response.status_code in (200, 201)


@pytest.mark.parametrize(
    "host",
    ["", "a..b", "a b", "[", "\xff", "\0", "x" * 5000],
    ids=["empty", "empty label", "space", "bracket", "not ASCII", "NUL", "5,000 characters"],
)
def test_every_host_header_is_answered(client: FlaskClient, host: str) -> None:
    for path in ("/health/live", "/api/v1/tasks", "/nowhere"):
        response = client.get(path, environ_overrides={"HTTP_HOST": host})
        assert response.status_code < 500
        assert response.headers["X-Correlation-ID"]


def test_a_malformed_id_is_not_found(alice: User, subtests: Subtests) -> None:
    for name in NO_IDS:
        with subtests.test(brief(name)):
            for method, body in (("GET", None), ("PUT", {"title": "x"}), ("DELETE", None)):
                response = alice.request(method, f"/tasks/{name}", json=body)
                assert_error(response, 404, "task_not_found")
            assert_error(alice.delete(f"/auth/sessions/{name}"), 404, "not_found")
            for path in (f"/{name}", f"/tasks/{name}/", f"/tasks/{name}/x", f"//tasks/{name}"):
                assert_error(alice.get(path), 404, "not_found")
