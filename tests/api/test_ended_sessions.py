"""A session that has ended gives access to nothing from that moment on, however it ended."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from taskflow.http.routing import declaration_of
from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.users import User

NEW = "new horse battery"


def requests(user: User) -> list[tuple[str, str, Any]]:
    """Return a valid request to every protected route: method, path and body."""
    task, deleted = f"/tasks/{user.task()['id']}", f"/tasks/{user.task()['id']}"
    user.delete(deleted)
    session = user.get("/auth/sessions").json["data"][0]["id"]
    return [
        ("GET", "/tasks", None),
        ("GET", "/tasks?q=milk&sort=title&limit=1", None),
        ("GET", "/tasks/changes", None),
        ("GET", "/tasks/summary", None),
        ("GET", task, None),
        ("POST", "/tasks", {"title": "x"}),
        ("POST", "/tasks/batch", {"create": [{"title": "x"}]}),
        ("PUT", task, {"title": "x"}),
        ("PATCH", task, {"title": "x"}),
        ("PATCH", task, {"id": "read-only"}),
        ("POST", f"{deleted}/restore", None),
        ("DELETE", task, None),
        ("GET", "/auth/me", None),
        ("GET", "/auth/sessions", None),
        ("DELETE", f"/auth/sessions/{session}", None),
        ("PUT", "/auth/email", {"email": "new@example.com", "password": PASSWORD}),
        ("PUT", "/auth/password", {"currentPassword": PASSWORD, "newPassword": NEW}),
        ("DELETE", "/auth/me", {"password": PASSWORD}),
    ]


ENDINGS: dict[str, Callable[[User, User], Any]] = {
    "logout": lambda user, _: user.post("/auth/logout"),
    "revocation": lambda user, other: other.delete(f"/auth/sessions/{user.session_id}"),
    "password change": lambda _, other: other.request(
        "PUT", "/auth/password", json={"currentPassword": PASSWORD, "newPassword": NEW}
    ),
    "deletion of the account": lambda _, other: other.delete(
        "/auth/me", json={"password": PASSWORD}
    ),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=list(ENDINGS))
def test_an_ended_session_is_refused_on_every_route(
    alice: User, end: Callable[[User, User], Any]
) -> None:
    wanted = requests(alice)
    for path, body in (("/tasks", {"title": "x"}), ("/tasks/batch", {"create": [{"title": "x"}]})):
        kept = {"Idempotency-Key": path}
        assert alice.post(path, body, headers=kept).status_code in (200, 201)
    assert end(alice, alice.log_in_again()).status_code == 204
    for method, path, body in wanted:
        headers = {"Idempotency-Key": path} if method == "POST" and body else {}
        response = alice.request(method, path, json=body, headers=headers)
        assert_error(response, 401, "auth_revoked")


def test_an_expired_session_is_refused_on_every_route(alice: User, sql: Callable[..., Any]) -> None:
    wanted = requests(alice)
    sql("UPDATE sessions SET expires_at = now()")
    for method, path, body in wanted:
        assert_error(alice.request(method, path, json=body), 401, "auth_revoked")
    assert alice.post("/auth/logout").status_code == 204


def test_a_known_etag_does_not_replace_a_live_session(alice: User) -> None:
    paths = [f"/tasks/{alice.task()['id']}", "/tasks", "/tasks/changes", "/tasks/summary"]
    tags = [alice.get(path).headers["ETag"] for path in paths]
    alice.post("/auth/logout")
    for path, tag in zip(paths, tags, strict=True):
        response = alice.get(path, headers={"If-None-Match": tag})
        assert_error(response, 401, "auth_revoked")


def test_every_protected_route_is_among_the_requests(alice: User, app: Flask) -> None:
    adapter = app.url_map.bind("localhost")
    reached = {
        adapter.match(f"/api/v1{path.partition('?')[0]}", method)[0]
        for method, path, _ in requests(alice)
    }
    protected = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if not declaration_of(app.view_functions[rule.endpoint]).public
    }
    assert reached == protected
