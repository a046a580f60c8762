"""A page on a listed origin can read every answer; a page on another origin can read none."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from taskflow.config import ConfigError, load_config
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
        assert (response.status_code, response.data) == (204, b"")
        headers = response.headers
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
        assert headers["Access-Control-Allow-Credentials"] == "true"
        assert "PATCH" in headers["Access-Control-Allow-Methods"]
        allowed = {name.strip() for name in headers["Access-Control-Allow-Headers"].split(",")}
        assert allowed == {"authorization", "if-match", "x-csrf-token"}
        assert headers["Access-Control-Max-Age"] == "600"
        assert "X-RateLimit-Limit" not in headers


PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,idempotency-key,if-none-match,x-csrf-token",
}


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/api/v1/tasks/", "/api/v2/tasks", "/api/v1/tasks/x/y", "/health", "/metrics",
     "/docs", "/api/v1/auth/login", "/api/v1/tasks/%00", "//api/v1/tasks"],
)  # fmt: skip
def test_a_preflight_from_a_listed_origin_is_granted_for_every_path(
    open_app: Flask, path: str
) -> None:
    client = open_app.test_client()
    response = client.options(path, headers={"Origin": ORIGIN, **PREFLIGHT})
    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    allowed = response.headers["Access-Control-Allow-Headers"]
    assert set(allowed.split(", ")) == set(PREFLIGHT["Access-Control-Request-Headers"].split(","))
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert "Origin" in response.headers["Vary"]
    assert response.headers["X-Correlation-ID"]
    refused = client.options(path, headers={"Origin": "https://evil.example.com", **PREFLIGHT})
    assert "Access-Control-Allow-Origin" not in refused.headers
    # The page sees the request's own 404.
    answer = client.post(path, headers={"Origin": ORIGIN}, json={})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


ORIGINS = [
    "https://app.example.com", "http://localhost:5173", "http://[::1]:5173", "http://127.0.0.1",
    "https://xn--mnchen-3ya.example", "https://app.example.com.", "http://app.example.com:443",
    "https://under_score.example.com:65535", "capacitor://localhost", "tauri://localhost",
    "ionic://localhost", "https://tauri.localhost", "app://.",
    "chrome-extension://gighmmpiobklfepjocnamgkkbiglidom",
    "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
    "safari-web-extension://E5C8E9A7-7C34-4F4A-9D2B-5A1B0C6D7E8F",
    "vscode-webview://1a2b3c", "http://[2001:db8::1]",
]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_every_origin_that_a_browser_sends_can_be_listed(
    app_with: Callable[..., Flask], origin: str
) -> None:
    listed = load_config(False, {"CORS_ORIGINS": f"https://other.example, {origin}"}).cors_origins
    client = app_with(cors_origins=listed).test_client()
    for answer in (
        client.get("/health/live", headers={"Origin": origin}),
        client.options("/api/v1/tasks", headers={"Origin": origin, **PREFLIGHT}),
        client.get("/nowhere", headers={"Origin": origin}),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == origin
    for other in (f"{origin}x", f"x{origin}", origin.replace(".", "x", 1) + "y", f"{origin}/"):
        answer = client.get("/health/live", headers={"Origin": other})
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Origin" not in client.get("/health/live").headers


@pytest.mark.parametrize(
    "text",
    ["*", "null", "https://*", "https://*.example.com", "https://app.example.com/",
     "https://app.example.com/x", "https://app.example.com?x", "https://app.example.com#x",
     "https://app.example.com:443", "http://app.example.com:80", "https://app.example.com:",
     "https://app.example.com:0", "https://app.example.com:65536", "https://app.example.com:08080",
     "https://App.example.com", "HTTPS://app.example.com", "Capacitor://localhost",
     "https://user@app.example.com", "https://user:pw@app.example.com", "app.example.com", "https:",
     "https://", "//app.example.com", "file://", "data:text", "https://münchen.example",
     "http://[::1", "http://[0:0:0:0:0:0:0:1]", "http://[::FFFF:1]", "http://127.1", "http://0x7f.1",
     "http://127.0.0.01", "http://[127.0.0.1]", "https://a b", "1http://x"],
)  # fmt: skip
def test_an_origin_that_no_browser_sends_prevents_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^CORS_ORIGINS [^\n]*$"):
        load_config(False, {"CORS_ORIGINS": text})


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
