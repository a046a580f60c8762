"""A client has budgets of requests and of password checks, and answers show what is left."""

import logging
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.load import wait_for
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


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7:50000", "198.51.100.7"),
        ("6.6.6.6, 198.51.100.7:50000", "198.51.100.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("[::ffff:c633:6407]:80", "198.51.100.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", "127.0.0.1"),
        ("_hidden", "127.0.0.1"),
        ("198.51.100.07", "127.0.0.1"),
        ("198.51.100.7:http", "127.0.0.1"),
        ("198.51.100.7:1:2", "127.0.0.1"),
        ("[2001:db8::1", "127.0.0.1"),
        ("[2001:db8::1]443", "127.0.0.1"),
        ("198.51.100.7,", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("x" * 5000, "127.0.0.1"),
    ],
    ids=lambda text: (text or "nothing")[:30],
)
def test_the_address_of_a_client_is_canonical_and_without_a_port(
    app_with: Callable[..., Flask], caplog: Any, forwarded: str, address: str
) -> None:
    client = app_with(trusted_proxies=1).test_client()
    headers = {"X-Forwarded-For": forwarded}
    with caplog.at_level(logging.INFO):
        client.get("/nowhere", headers=headers)
    assert caplog.records[-1].remoteAddr == address
    credentials = {"email": "one@example.com", "password": PASSWORD}
    session = client.post(f"{AUTH}/register", json=credentials, headers=headers)
    bearer = {"Authorization": f"Bearer {session.json['accessToken']}"}
    [session] = client.get(f"{AUTH}/sessions", headers=bearer).json["data"]
    assert session["ipAddress"] == address


def test_x_forwarded_for_is_believed_as_far_as_proxies_are_trusted(
    app_with: Callable[..., Flask], caplog: Any
) -> None:
    headers = {"X-Forwarded-For": "192.0.2.1, 192.0.2.2, 192.0.2.3"}
    seen = []
    for proxies in (0, 1, 2, 3, 4):
        with caplog.at_level(logging.INFO):
            app_with(trusted_proxies=proxies).test_client().get("/nowhere", headers=headers)
        seen.append(caplog.records[-1].remoteAddr)
    assert seen == ["127.0.0.1", "192.0.2.3", "192.0.2.2", "192.0.2.1", "127.0.0.1"]


def test_all_addresses_of_an_ipv6_network_have_one_budget(limited: Flask) -> None:
    client = limited.test_client()

    def login(address: str) -> int:
        credentials = {"email": "one@example.com", "password": "wrong horse battery"}
        headers = {"X-Forwarded-For": address}
        return client.post(f"{AUTH}/login", json=credentials, headers=headers).status_code

    home = [login(f"2001:db8:1:2:{n:x}::{n:x}") for n in range(1, 5)]
    assert home == [401, 401, 401, 429]
    assert login("[2001:db8:1:2:ffff::1]:443") == 429
    assert login("2001:db8:1:3::1") == 401
    mapped = [login(text) for text in ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1:1234")]
    assert mapped == [401, 401, 401]
    assert login("[::ffff:192.0.2.1]:1234") == 429
    assert login("192.0.2.2") == 401


@pytest.mark.parametrize("storage", ["memory", "redis"])
def test_a_client_that_waits_as_long_as_it_is_told_is_served(
    app_with: Callable[..., Flask], storage: str, request: pytest.FixtureRequest
) -> None:
    uri = "memory://" if storage == "memory" else request.getfixturevalue("redis")
    app = app_with(rate_limit="1/second", rate_limit_storage=uri)
    user = User(app, "one@example.com")
    told = 0
    for pause in (0.05, 0.2, 0.4, 0.6, 0.8):
        time.sleep(pause)
        while (response := user.get("/tasks")).status_code == 200:
            continue
        now, told = time.time(), told + 1
        wait = int(response.headers["Retry-After"])
        assert int(response.headers["X-RateLimit-Reset"]) <= now + wait + 1
        time.sleep(wait)
        assert user.get("/tasks").status_code == 200
    assert told == 5


@pytest.mark.parametrize("storage", ["memory", "redis"])
def test_a_client_that_waits_for_the_reset_is_served(
    app_with: Callable[..., Flask], storage: str, request: pytest.FixtureRequest
) -> None:
    uri = "memory://" if storage == "memory" else request.getfixturevalue("redis")
    user = User(app_with(rate_limit="1/second", rate_limit_storage=uri), "one@example.com")
    for pause in (0.1, 0.3, 0.7):
        time.sleep(pause)
        while (response := user.get("/tasks")).status_code == 200:
            continue
        time.sleep(max(int(response.headers["X-RateLimit-Reset"]) - time.time(), 0))
        assert user.get("/tasks").status_code == 200


@pytest.fixture
def redis() -> Iterator[str]:
    """Run redis, and return its URL."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis is not installed")
    port = free_port()
    server = subprocess.Popen(
        [program, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL
    )
    wait_for(lambda: _listens(port), 10)
    yield f"redis://127.0.0.1:{port}"
    server.terminate()
    server.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
