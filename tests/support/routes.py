"""Valid requests for every route, each of which a test makes invalid in one respect."""

from io import BytesIO
from typing import Any

from werkzeug.test import TestResponse

from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.users import User

MIB = 1024 * 1024
ROCKET = "\N{ROCKET}"  # one code point, which UTF-16 counts as two and UTF-8 as four
LONG_NUMBER = "9" * 10_000

BODIES = {
    "POST /auth/register": {"email": "new@example.com", "password": PASSWORD},
    "POST /auth/login": {"email": "alice@example.com", "password": PASSWORD},
    "PUT /auth/password": {"currentPassword": PASSWORD, "newPassword": PASSWORD},
    "POST /auth/password/reset": {"token": "x", "newPassword": PASSWORD},
    "PUT /auth/email": {"email": "changed@example.com", "password": PASSWORD},
    "DELETE /auth/me": {"password": PASSWORD},
    "POST /tasks": {"title": "Sent"},
    "PUT /tasks/{task}": {"title": "Sent"},
    "PATCH /tasks/{task}": {"title": "Sent"},
}
# fmt: off
BODILESS = [
    "GET /tasks", "GET /tasks/{task}", "DELETE /tasks/{task}", "GET /auth/me", "GET /auth/sessions",
    "DELETE /auth/sessions/{session}", "POST /auth/refresh", "POST /auth/logout",
]
# fmt: on


def brief(value: Any) -> str:
    """Return a short name for a test case, made from the value that the case sends."""
    return ascii(value)[:50]


def send(user: User, route: str, query: str = "", **kwargs: Any) -> TestResponse:
    """Send a request that is valid except for the arguments of the test."""
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
    """Send a body without its length, as a WSGI server passes on a chunked one."""
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    stream, content_type = BytesIO(body), "application/json"
    return send(
        user, route, input_stream=stream, content_type=content_type, environ_overrides=chunked
    )


def assert_code(response: TestResponse, status: int, code: str) -> None:
    """Assert status and code of an error that may name any fields."""
    details = response.json.get("error", {}).get("details", [])
    assert_error(response, status, code, *(detail["field"] for detail in details))
