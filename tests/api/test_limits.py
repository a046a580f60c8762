"""A client has a budget of requests and of password checks, and sees the rest of it."""

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.service import free_port
from tests.support.users import User
from tests.support.windows import leave_time_in_the_minute

AUTH = "/api/v1/auth"


@pytest.fixture(autouse=True)
def _early_in_the_minute() -> None:
    leave_time_in_the_minute()


@pytest.fixture
def limited(app_with: Callable[..., Flask]) -> Flask:
    return app_with(rate_limit="5/minute", auth_rate_limit="3/minute", trusted_proxies=1)


def left(response: TestResponse) -> int:
    assert int(response.headers["X-RateLimit-Reset"]) > time.time()
    return int(response.headers["X-RateLimit-Remaining"])


def test_a_user_has_one_budget_over_all_routes(limited: Flask) -> None:
    user = User(limited, "one@example.com")
    calls = [
        lambda: user.get("/tasks"),
        lambda: user.post("/tasks", {"title": "x"}),
        lambda: user.get("/auth/me"),
        lambda: user.post("/tasks", {"title": ""}),
        lambda: user.get("/tasks/x"),
    ]
    assert [left(call()) for call in calls] == [4, 3, 2, 1, 0]
    response = user.get("/tasks")
    assert_error(response, 429, "rate_limited")
    assert response.headers["X-RateLimit-Limit"] == "5"
    assert left(response) == 0
    assert 0 < int(response.headers["Retry-After"]) <= 60
    other = User(limited, "two@example.com")
    assert left(other.get("/tasks")) == 4


def test_only_a_refusal_has_a_retry_after_header(limited: Flask) -> None:
    user = User(limited, "one@example.com")
    assert "Retry-After" not in user.get("/tasks").headers


def test_requests_without_a_valid_token_are_counted_by_address(limited: Flask) -> None:
    client = limited.test_client()

    def guess(address: str) -> TestResponse:
        headers = {"Authorization": "Bearer guess", "X-Forwarded-For": f"6.6.6.6, {address}"}
        return client.get("/api/v1/tasks", headers=headers)

    answers = [guess("203.0.113.1") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert [left(answer) for answer in answers] == [4, 3, 2, 1, 0, 0]
    assert guess("203.0.113.2").status_code == 401


def test_password_checks_have_a_budget_of_their_own(limited: Flask) -> None:
    client = limited.test_client(use_cookies=False)
    credentials = {"email": "one@example.com", "password": PASSWORD}
    session = client.post(f"{AUTH}/register", json=credentials)
    assert left(session) == 2
    wrong = {**credentials, "password": "wrong horse battery"}
    assert left(client.post(f"{AUTH}/login", json=wrong)) == 1
    bearer = {"Authorization": f"Bearer {session.json['accessToken']}"}
    change = {"currentPassword": "wrong horse battery", "newPassword": "x horse battery"}
    response = client.put(f"{AUTH}/password", json=change, headers=bearer)
    assert_error(response, 401, "invalid_credentials")
    assert left(response) == 0
    for method, path, body in (
        ("POST", "/register", {**credentials, "email": "two@example.com"}),
        ("POST", "/login", credentials),
        ("PUT", "/password", change),
        ("DELETE", "/me", {"password": "guess"}),
    ):
        answer = client.open(f"{AUTH}{path}", method=method, json=body, headers=bearer)
        assert_error(answer, 429, "rate_limited")
    # Password checks count against their own budget only.
    assert left(client.get("/api/v1/tasks", headers=bearer)) == 4


def test_requests_without_a_token_spend_no_password_check(limited: Flask) -> None:
    client = limited.test_client()
    for _ in range(4):
        assert_error(client.delete(f"{AUTH}/me", json={"password": "x"}), 401, "auth_missing")
    credentials = {"email": "one@example.com", "password": PASSWORD}
    assert left(client.post(f"{AUTH}/register", json=credentials)) == 2


def test_health_checks_options_and_unknown_paths_are_not_limited(limited: Flask) -> None:
    client = limited.test_client()
    for _ in range(10):
        for response in (
            client.get("/health"),
            client.get("/health/live"),
            client.options("/api/v1/tasks"),
            client.get("/nowhere"),
        ):
            assert response.status_code in (200, 404)
            assert "X-RateLimit-Limit" not in response.headers


def test_a_budget_is_full_again_after_its_window(app_with: Callable[..., Flask]) -> None:
    user = User(app_with(rate_limit="2/second"), "one@example.com")
    time.sleep(1.1 - time.time() % 1)
    assert [user.get("/tasks").status_code for _ in range(3)] == [200, 200, 429]
    time.sleep(2.1)
    assert user.get("/tasks").status_code == 200


def test_an_unreachable_storage_is_tried_again_later(
    app_with: Callable[..., Flask], caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}"
    client = app_with(rate_limit_storage=nowhere).test_client()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert client.get("/openapi.json").status_code == 200
        monkeypatch.setattr("taskflow.limits.AWAY_SECONDS", 0)
        assert client.get("/openapi.json").status_code == 200
    assert caplog.text.count("Rate limits are off") == 1
