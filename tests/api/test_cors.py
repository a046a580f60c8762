"""A page on a listed origin can read every answer; a page on another origin can read none."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.credentials import PASSWORD
from tests.support.users import User

ORIGIN = "https://app.example.com"


@pytest.fixture
def open_app(app_with: Callable[..., Flask]) -> Flask:
    return app_with(cors_origins=(ORIGIN, "http://localhost:5173"), rate_limit="8/minute")


def test_a_preflight_needs_no_token_and_spends_no_budget(open_app: Flask) -> None:
    client = open_app.test_client()
    for _ in range(20):
        response = client.options(
            "/api/v1/tasks/x",
            headers={
                "Origin": ORIGIN,
                "Access-Control-Request-Method": "PATCH",
                "Access-Control-Request-Headers": "authorization, if-match, x-csrf-token",
            },
        )
        assert response.status_code == 200
        headers = response.headers
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert "PATCH" in headers["Access-Control-Allow-Methods"]
        allowed = {name.strip() for name in headers["Access-Control-Allow-Headers"].split(",")}
        assert allowed == {"authorization", "if-match", "x-csrf-token"}
        assert headers["Access-Control-Max-Age"] == "600"
        assert "X-RateLimit-Limit" not in headers


def test_a_listed_origin_can_read_every_answer(open_app: Flask) -> None:
    user = User(open_app, "one@example.com")
    origin = {"Origin": ORIGIN}
    task = user.task()
    answers = [
        user.get("/tasks", headers=origin),
        user.get(f"/tasks/{task['id']}", headers={**origin, "If-None-Match": "*"}),
        user.post("/tasks", {"title": ""}, headers=origin),
        user.get("/tasks/x", headers=origin),
        user.get("/nowhere", headers=origin),
        user.request("PUT", "/tasks", headers=origin),
        user.get("/tasks", headers={**origin, "Authorization": "Bearer forged"}),
        *[user.get("/tasks", headers=origin) for _ in range(6)],
    ]
    met = [answer.status_code for answer in answers]
    assert {200, 304, 400, 404, 405, 401, 429} == set(met)
    for answer in answers:
        headers = answer.headers
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Origin" in headers["Vary"]
        exposed = {name.strip() for name in headers["Access-Control-Expose-Headers"].split(",")}
        assert exposed == {
            "ETag", "Link", "Location", "Retry-After", "X-Correlation-ID", "Idempotency-Replayed",
            "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
        }  # fmt: skip


def test_an_unlisted_origin_can_read_nothing(open_app: Flask, client: FlaskClient) -> None:
    for origin in ("https://evil.example.com", "https://app.example.com.evil.com", "null",
                   "http://app.example.com", "https://appXexample.com"):  # fmt: skip
        response = open_app.test_client().get("/health", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in response.headers
    # No origin is listed by default.
    response = client.get("/health", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_listed_origin_can_read_an_internal_error(
    open_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.auth.service.login", lambda *_args, **_kwargs: 1 / 0)
    response = open_app.test_client().post(
        "/api/v1/auth/login",
        json={"email": "a@example.com", "password": PASSWORD},
        headers={"Origin": ORIGIN},
    )
    assert response.status_code == 500
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
