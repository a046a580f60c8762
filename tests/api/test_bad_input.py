"""Bad input is refused with the field's name: it is never a 500, and never ignored."""

import gzip
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.users import User

Subtests = pytest.Subtests
MIB = 1024 * 1024
ROCKET = "\N{ROCKET}"  # one code point, which UTF-16 counts as two and UTF-8 as four
LONG_NUMBER = "9" * 10_000
UNKNOWN = "01890000-0000-7000-8000-000000000000"

BODIES = {
    "POST /auth/register": {"email": "new@example.com", "password": PASSWORD},
    "POST /auth/login": {"email": "alice@example.com", "password": PASSWORD},
    "PUT /auth/password": {"currentPassword": PASSWORD, "newPassword": PASSWORD},
    "DELETE /auth/me": {"password": PASSWORD},
    "POST /tasks": {"title": "Sent"},
    "PUT /tasks/{task}": {"title": "Sent"},
    "PATCH /tasks/{task}": {"title": "Sent"},
}
WRITE_TASKS = [route for route in BODIES if "/tasks" in route]
# fmt: off
BODILESS = [
    "GET /tasks", "GET /tasks/{task}", "DELETE /tasks/{task}", "GET /auth/me", "GET /auth/sessions",
    "DELETE /auth/sessions/{session}", "POST /auth/refresh", "POST /auth/logout",
]
# fmt: on


def brief(value: Any) -> str:
    """Name a case after what it sends."""
    return ascii(value)[:50]


def send(user: User, route: str, query: str = "", **kwargs: Any) -> TestResponse:
    """Send a request that is all right but for what the test makes of it."""
    method, path = route.split()
    if "{task}" in path:
        path = path.format(task=user.task()["id"])
    elif "{session}" in path:
        path = path.format(session=user.get("/auth/sessions").json["data"][0]["id"])
    elif path == "/auth/refresh":
        cookies = "; ".join(user.session.headers.getlist("Set-Cookie")).split("; ")
        [token] = [cookie for cookie in cookies if cookie.startswith("refresh_token=")]
        bearer = {"Authorization": "Bearer " + token.partition("=")[2]}
        kwargs["headers"] = {**bearer, **kwargs.get("headers", {})}
    return user.request(method, path + query, **kwargs)


def send_bytes(user: User, route: str, body: bytes, **kwargs: Any) -> TestResponse:
    return send(user, route, data=body, **{"content_type": "application/json", **kwargs})


def send_chunked(user: User, route: str, body: bytes) -> TestResponse:
    """Send a body without its length, as gunicorn hands it on."""
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    stream, content_type = BytesIO(body), "application/json"
    return send(
        user, route, input_stream=stream, content_type=content_type, environ_overrides=chunked
    )


def assert_code(response: TestResponse, status: int, code: str) -> None:
    """Assert an error that may name any fields."""
    details = response.json.get("error", {}).get("details", [])
    assert_error(response, status, code, *(detail["field"] for detail in details))


# The body as a whole.

# fmt: off
INVALID_JSON = [
    b"", b" \n", b"null", b'[{"title": "x"}]', b'"title"', b"1", b"title=x",
    b'{"title": "x", "id": NaN}', b'{"id": [Infinity]}', b'{"id": {"a": -Infinity}}',
    b'{"title": "x"', b'{"title": "x"}{}', b'{"title": "x",}', b'{"id": "x"} //', b"{'id': 'x'}",
    b'{"title": 01}', b'{"title": True}', b'{"title": "\t"}', b'{"title": "\0"}', b'{"id": "x"}\0',
    b'{"title": "\\x41"}', gzip.compress(b'{"title": "x"}'), b'\xef\xbb\xbf{"title": "x"}',
    *('{"title": "é"}'.encode(name) for name in ("utf-16", "utf-16-le", "utf-32", "latin-1")),
    # In UTF-8, badly: an overlong NUL, a surrogate, and what is beyond Unicode.
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
    for depth in range(850, 1000):  # around Python's limit, where a body just parses or does not
        body = b'{"title": "x", "id": ' + b"[" * depth + b"]" * depth + b"}"
        key = {"Idempotency-Key": str(depth)}  # which makes the service walk the body again
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


@pytest.mark.parametrize("transfer", [send_bytes, send_chunked])
@pytest.mark.parametrize("route", [*BODIES, *BODILESS])
def test_a_body_may_have_one_mebibyte_at_most(
    alice: User, route: str, transfer: Callable[..., TestResponse]
) -> None:
    body = json.dumps(BODIES.get(route, {})).encode()
    for size in (MIB + 1, 2 * MIB):
        assert_error(transfer(alice, route, body.ljust(size)), 413, "payload_too_large")
    assert transfer(alice, route, body.ljust(MIB)).status_code < 300


@pytest.mark.parametrize("route", BODIES)
def test_an_unknown_field_is_refused_by_name(alice: User, route: str) -> None:
    for name in ("isAdmin", "", "Title", "title ", "a.b", "__proto__", "\0", "user_id"):
        response = send(alice, route, json={**BODIES[route], name: [None]})
        assert_error(response, 400, "validation_error", name)
    for names in (["\ud800"], ["k" * 500_000], [f"field{i}" for i in range(10_000)]):
        response = send(alice, route, json={**BODIES[route], **dict.fromkeys(names)})
        assert_code(response, 400, "validation_error")
        assert len(response.data) < 10_000  # nobody wants their half megabyte back


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


# The fields of accounts.

# fmt: off
NO_TEXT = [None, True, 1, 1.5, ["x"], {"x": "x"}, "a\0aaaaaa", "\ud800aaaaaaa", "x" * 100_000]
NO_EMAILS = [
    "", "a", "a@", "@example.com", "a@@example.com", "a b@example.com", "a@example..com",
    " a@example.com", "a@example.com\n", "a@example.com\u2028", "a@exam\u3000ple.com",
    "a@" + "x" * 64 + ".com", "a" * 243 + "@example.com",
]
# fmt: on
NO_PASSWORDS = ["x7Y!x7Y", ROCKET * 7, ROCKET * 129, "", "PassWord1"]
PASSWORDS = ["x7Y!x7Y!", ROCKET * 8, ROCKET * 128, " " * 8]


@pytest.mark.parametrize("route", [route for route in BODIES if "/auth" in route])
def test_an_email_or_password_must_be_valid_text(
    alice: User, subtests: Subtests, route: str
) -> None:
    for field in BODIES[route]:
        for value in NO_TEXT:
            with subtests.test(field, value=brief(value)):
                response = send(alice, route, json={**BODIES[route], field: value})
                assert_error(response, 400, "validation_error", field)


def test_an_email_must_be_valid_and_have_254_characters_at_most(
    client: FlaskClient, subtests: Subtests
) -> None:
    for email in NO_EMAILS:
        with subtests.test(brief(email)):
            body = {"email": email, "password": PASSWORD}
            response = client.post("/api/v1/auth/register", json=body)
            assert_error(response, 400, "validation_error", "email")
    body = {"email": "a" * 242 + "@example.com", "password": PASSWORD}
    assert client.post("/api/v1/auth/register", json=body).json["user"]["email"] == body["email"]
    assert client.post("/api/v1/auth/login", json=body).status_code == 200
    response = client.post("/api/v1/auth/login", json={**body, "email": "a" + body["email"]})
    assert_error(response, 400, "validation_error", "email")


def test_a_password_must_have_8_to_128_code_points(alice: User, subtests: Subtests) -> None:
    for password in NO_PASSWORDS:
        with subtests.test(brief(password)):
            body = {"email": "new@example.com", "password": password}
            response = alice.post("/auth/register", body)
            assert_error(response, 400, "validation_error", "password")
            body = {"currentPassword": PASSWORD, "newPassword": password}
            response = alice.request("PUT", "/auth/password", json=body)
            assert_error(response, 400, "validation_error", "newPassword")
    for i, password in enumerate(PASSWORDS):
        with subtests.test(brief(password)):
            body = {"email": f"{i}@example.com", "password": password}
            assert alice.post("/auth/register", body).status_code == 201
            assert alice.post("/auth/login", body).status_code == 200


# The fields of a task.

# fmt: off
ACCEPTED = [  # and how it is answered, where that is not how it was sent
    ("title", "x"), ("title", ROCKET * 200), ("title", "\u3000\t" + "x" * 200 + "\r\n", "x" * 200),
    ("description", ""), ("description", None), ("description", ROCKET * 2000),
    ("description", "\x01\x7f\ufeff\ufffe\uffff\U0010ffff\r\n"),
    ("tags", []), ("tags", [f"{i}{ROCKET * 49}" for i in range(10)]), ("tags", ["A", "a"]),
    ("tags", [" " + "x" * 50 + "\n"], ["x" * 50]),
    ("dueDate", None), ("dueDate", "1970-01-01"), ("dueDate", "2999-12-31"),
    ("dueDate", "1969-12-31T00:01:00-23:59", "1970-01-01T00:00:00+00:00"),
    ("dueDate", "3000-01-01T23:58:59.999999999+23:59", "2999-12-31T23:59:59.999999+00:00"),
]
REFUSED = {
    "title": [
        None, True, 0, ["x"], {"x": "x"}, "", " \u3000\n", "x" * 201, ROCKET * 201, "\0", "\ud800",
    ],
    "description": [False, 0, 1.5, [], {}, ROCKET * 2001, " " * 2001, "\0", "a\udc00"],
    "status": [None, True, 1, [], ["pending"], {}, "", "Pending", "pending ", "done", "pending\0"],
    "priority": [None, True, 3, [], ["low"], {}, "", "LOW", "urgent", "low\0", "\ud800"],
    "dueDate": [
        True, 0, 1e12, [], {}, "", "now", "\0", "\ud800", "2026-12", "20261201", "2026-W49-2",
        "1969-12-31", "3000-01-01", "0000-01-01", "2026-02-29", "2026-13-01", "\uff12026-12-01",
        "2026-12-01\n", " 2026-12-01", "-2026-12-01", "12026-12-01", "2026-12-01" + "0" * 10_000,
        "2026-12-01T10:00Z", "2026-12-01T10:00:00", "2026-12-01 10:00:00Z", "2026-12-01T10:00:00.Z",
        "2026-12-01T24:00:00Z", "2026-12-01T10:60:00Z", "2026-12-01T10:00:00,5Z",
        "2026-12-01T10:00:00+24:00", "2026-12-01T10:00:00+01:60", "2026-12-01T10:00:00+01",
        "2026-12-01T10:00:00Z\n", "1969-12-31T23:59:59.999999999Z", "2999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59",
    ],
    "tags": [None, True, 1, "a", {"a": "b"}, [str(i) for i in range(11)], ["a", " a "]],
    "tags.0": [[None], [True], [1], [["a"]], [{}], [""], [" "], [ROCKET * 51], ["\0"], ["\ud800"]],
    "tags.9": [[*"abcdefghi", ""]],
}
# fmt: on


@pytest.mark.parametrize("route", WRITE_TASKS)
def test_a_task_accepts_values_at_the_limits(alice: User, subtests: Subtests, route: str) -> None:
    for field, sent, *answered in ACCEPTED:
        with subtests.test(field, sent=brief(sent)):
            response = send(alice, route, json={"title": "x", field: sent})
            assert response.json.get(field, response.text) == (answered or [sent])[0]


@pytest.mark.parametrize("route", WRITE_TASKS)
@pytest.mark.parametrize("named", REFUSED)
def test_a_task_refuses_values_beyond_the_limits(
    alice: User, subtests: Subtests, named: str, route: str
) -> None:
    for value in REFUSED[named]:
        with subtests.test(brief(value)):
            response = send(alice, route, json={"title": "Sent", named.partition(".")[0]: value})
            assert_error(response, 400, "validation_error", named)
    assert "Sent" not in alice.titles("?limit=100")  # no part of it was stored


def test_every_invalid_field_of_a_body_is_named(alice: User) -> None:
    body = {"title": "", "description": 1, "status": 1, "tags": ["a", 1], "dueDate": "", "x": 1}
    names = ("title", "description", "status", "tags.1", "dueDate", "x")
    assert_error(alice.post("/tasks", body), 400, "validation_error", *names)


def test_a_text_may_hold_any_character_and_be_searched_for(alice: User) -> None:
    points = [*range(1, 0x3200), *range(0xFB00, 0x10000), *range(0x1F300, 0x1F700)]
    for start in range(0, len(points), 198):
        text = "a" + "".join(map(chr, points[start : start + 198])) + "z"
        assert alice.task(title=text, description=text, tags=[text[:50]])["title"] == text
        assert alice.get(f"/tasks?q={quote(text)}").status_code == 200


# The query.

# fmt: off
NO_BOUNDS = [
    "=", "=x", "=1969-12-31", "=3000-01-01", "=2030-02-30", "=2030-01-01T00:00:00", "=%FF",
    "=2030-01-01T00:00:00+02:00", "=2030-01-01%00",
]
REFUSED_QUERIES = {
    "limit": [
        "", "=", "=0", "=101", "=-1", "=%2B1", "=1.0", "=1e1", "=%201", "=1_0", "=%EF%BC%91",
        "=1%00", "=1%FF", "=" + LONG_NUMBER, "=1&limit=1", "=1&lim%69t=1", "=1;sort=title",
    ],
    "sort": [
        "=", "=Title", "=--title", "=%2Btitle", "=title,priority", "=id", "=title%00", "=%FF",
        "=title&sort=title", "=title)%3BDROP%20TABLE%20tasks",
    ],
    "cursor": [
        "=", "=x", "=%00", "=%FF", "=%F0%9F%9A%80", "====", "=" + "x" * 50_000, "=AAAA&cursor=AAAA",
    ],
    "status": ["=", "=Pending", "=pending,completed", "=pending&status=x", "=pending%00", "=%FF"],
    "priority": ["=", "=HIGH", "=urgent", "=low&priority=", "=low&priority=%ED%A0%80"],
    "tag": ["=", "=%20", "=" + "x" * 51, "=a&tag=%00", "=a&tag=%FF", "=%C0%80"],
    "q": ["=", "=%20", "=!", "=%00", "=a%00", "=%FF", "=%ED%A0%80", "=" + "a" * 201, "=a&q=b"],
    "dueBefore": [*NO_BOUNDS, "=2030-01-01&dueBefore=2030-01-01"],
    "dueAfter": [*NO_BOUNDS, "=2030-01-01&dueAfter=2030-01-01"],
    **{name: ["", "=1", "=%FF"] for name in ("x", "page", "Limit", "limit[]", "title", "id")},
}
ACCEPTED_QUERIES = [
    "limit=1", "limit=100", "tag=" + quote(ROCKET * 50), "q=" + "a" * 200, "", "&", "sort=-dueDate",
    "tag=a&tag=b&tag=a", "status=pending&status=completed", "priority=low&priority=high",
    "dueAfter=1970-01-01&dueBefore=2999-12-31", "dueAfter=2999-12-31T23:59:59.999999Z",
    "dueBefore=2030-01-01T00:00:00%2B02:00",
]
# fmt: on


@pytest.mark.parametrize("name", REFUSED_QUERIES)
def test_an_invalid_query_parameter_is_refused_by_name(
    alice: User, subtests: Subtests, name: str
) -> None:
    for query in REFUSED_QUERIES[name]:
        with subtests.test(brief(query)):
            assert_error(alice.get(f"/tasks?{name}{query}"), 400, "validation_error", name)


def test_a_query_at_the_limits_is_answered(alice: User, subtests: Subtests) -> None:
    for query in ACCEPTED_QUERIES:
        with subtests.test(brief(query)):
            assert alice.get(f"/tasks?{query}").status_code == 200


def test_a_query_that_is_not_utf8_is_refused(alice: User) -> None:
    for name in ("", "%FF", "%ED%A0%80", "limit%FF", "limit%00"):
        assert_code(alice.get(f"/tasks?{name}=1"), 400, "validation_error")
    response = alice.get("/tasks", environ_overrides={"QUERY_STRING": "q=a\xff"})  # not encoded
    assert_error(response, 400, "validation_error", "q")


@pytest.mark.parametrize("route", [*BODIES, *BODILESS[1:]])
def test_a_route_without_a_query_refuses_parameters(alice: User, route: str) -> None:
    body = {"json": BODIES[route]} if route in BODIES else {}
    for query in ("x=1", "x", "x=%FF", "x=%00", "x=1&x=2", "limit=1", "title=x"):
        response = send(alice, route, f"?{query}", **body)
        assert_error(response, 400, "validation_error", query.partition("=")[0])


def test_a_damaged_cursor_is_refused(alice: User, subtests: Subtests) -> None:
    for title in ("a", "bb", "ccc", "dddd"):  # cursors of three lengths: base64 has spare bits
        alice.task(title=title)
    query, cursor = "limit=1&sort=title", ""
    for _ in range(3):
        cursor = alice.get(f"/tasks?{query}{cursor and '&cursor='}{cursor}").json["nextCursor"]
        damaged = [cursor[:-1] + char for char in "AQgwBRhxCSiy" if char != cursor[-1]]
        damaged += [cursor[1:], cursor[:-1], cursor + "=", cursor + "==", cursor + "%20"]
        for i, char in enumerate(cursor):
            damaged.append(cursor[:i] + ("_" if char == "-" else "-") + cursor[i + 1 :])
        for other in damaged:
            with subtests.test(cursor, sent=other):
                response = alice.get(f"/tasks?{query}&cursor={other}")
                assert_error(response, 400, "validation_error", "cursor")


@pytest.mark.parametrize("sort", ["title", "-title"])
def test_the_cursor_of_the_longest_title_is_accepted(alice: User, sort: str) -> None:
    for _ in range(2):
        alice.task(title=ROCKET * 200)
    cursor = alice.get(f"/tasks?limit=1&sort={sort}").json["nextCursor"]
    assert alice.titles(f"?limit=1&sort={sort}&cursor={cursor}") == [ROCKET * 200]


# Headers and paths.


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
NO_TOKENS = [
    "x", "..", "a.b.c", "\xff", "\0", "." * 10_000, "x" * 100_000, "é.é.é", *map(jws, [
        b"[" * 5000, b'{"a":' * 5000, LONG_NUMBER.encode(), b"\xff", b"null", b"[]", b"{}",
        b'{"alg": "none"}', b'{"alg": []}', b'{"alg": {}}', b'{"alg": "HS256", "kid": 1}',
        b'{"alg": "HS256", "crit": 1}', b'{"alg": "\\ud800"}', b'{"alg": "HS256"}',
    ]),
]
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


@pytest.mark.parametrize("key", ["k" * 255, "!", "".join(map(chr, range(0x21, 0x7F)))], ids=brief)
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


@pytest.mark.parametrize("token", NO_TOKENS, ids=brief)
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
@pytest.mark.parametrize("value", ["", "\0", "a\0b", "\xff", "\x01\x7f", "x" * 50_000], ids=brief)
def test_a_session_begins_with_any_user_agent(alice: User, route: str, value: str) -> None:
    response = send(alice, route, json=BODIES[route], headers={"User-Agent": value})
    assert response.status_code in (200, 201)


@pytest.mark.parametrize("host", ["", "a..b", "a b", "[", "\xff", "\0", "x" * 5000], ids=brief)
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
