"""An invalid field is refused by name, and a value at a limit is accepted."""

from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.routes import BODIES, ROCKET, brief, send
from tests.support.users import User

Subtests = pytest.Subtests
WRITE_TASKS = ["POST /tasks", "PUT /tasks/{task}", "PATCH /tasks/{task}"]


# fmt: off
NO_TEXT = [None, True, 1, 1.5, ["x"], {"x": "x"}, "a\0aaaaaa", "\ud800aaaaaaa", "x" * 100_000]
NO_EMAILS = [
    "", "a", "a@", "@example.com", "a@@example.com", "a b@example.com", "a@example..com",
    "a\u2028@example.com", "a@exam\u3000ple.com", "a@example.com.", "a@[127.0.0.1]", "a@ab--cd.com",
    "a@xn--a.example", "a\u202e@example.com",
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


# fmt: off
ACCEPTED = [  # field, value sent, and value answered where it differs
    ("title", "x"), ("title", ROCKET * 200), ("title", "\u3000\t" + "x" * 200 + "\r\n", "x" * 200),
    ("description", ""), ("description", None), ("description", ROCKET * 2000),
    ("description", "\x01\x7f\ufeff\ufffe\uffff\U0010ffff\r\n"),
    ("tags", []), ("tags", [f"{i}{ROCKET * 49}" for i in range(10)]), ("tags", ["A", "a"]),
    ("tags", [" " + "x" * 50 + "\n"], ["x" * 50]),
    ("dueDate", None), ("dueDate", "1970-01-01"), ("dueDate", "2999-12-31"),
    ("dueDate", "1969-12-31T00:01:00-23:59", "1970-01-01T00:00:00.000000+00:00"),
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
