"""Sessions begin, are refreshed and listed, and end as the contract says."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD, SECRET
from tests.support.sessions import (
    AUTH,
    CREDENTIALS,
    claims_of,
    refresh,
    refresh_token_of,
    refresh_with,
    register,
)
from tests.support.users import User


@pytest.mark.parametrize("production", [False, True], ids=["development", "production"])
def test_session_cookies_have_restrictive_attributes(
    app_with: Callable[..., Flask], production: bool
) -> None:
    browser = app_with(production=production, cookie_samesite="Lax").test_client()
    response = register(browser)
    lines = [cookie.split("; ") for cookie in response.headers.getlist("Set-Cookie")]
    cookies = {
        pair.partition("=")[0]: {a for a in attributes if not a.startswith("Expires=")}
        for pair, *attributes in lines
    }
    host, secure = ("__Host-", "__Secure-") if production else ("", "")
    common = {"SameSite=Lax"} | ({"Secure"} if production else set())
    assert cookies == {
        f"{host}access_token": common | {"HttpOnly", "Path=/", "Max-Age=900"},
        f"{secure}refresh_token": common | {"HttpOnly", f"Path={AUTH}", "Max-Age=604800"},
        f"{host}csrf_token": common | {"Path=/", "Max-Age=604800"},
    }


def test_a_session_works_with_the_cookies_of_production(app_with: Callable[..., Flask]) -> None:
    browser = app_with(production=True).test_client()
    headers = {"X-CSRF-Token": register(browser).json["csrfToken"]}
    secure = {"base_url": "https://localhost", "headers": headers}
    assert browser.get(f"{AUTH}/me", **secure).status_code == 200
    assert browser.post(f"{AUTH}/refresh", **secure).status_code == 200
    response = browser.post(f"{AUTH}/logout", **secure)
    assert response.status_code == 204
    for cookie in response.headers.getlist("Set-Cookie"):  # browsers ignore any other
        assert re.match(r"__(Host|Secure)-\w+=;.*; Secure;", cookie)
    assert_error(browser.get(f"{AUTH}/me", **secure), 401, "auth_missing")


def test_the_plain_cookie_names_give_no_access_in_production(
    app_with: Callable[..., Flask], alice: User
) -> None:
    browser = app_with(production=True).test_client()
    browser.set_cookie("access_token", alice.token)
    assert_error(browser.get(f"{AUTH}/me"), 401, "auth_missing")


def test_refreshing_rotates_the_tokens_and_keeps_the_csrf_token(client: FlaskClient) -> None:
    first = register(client).json
    before = refresh_token_of(client)
    response = refresh(client, first["csrfToken"])
    assert response.status_code == 200
    assert response.json["user"] == first["user"]
    assert response.json["csrfToken"] == first["csrfToken"]
    assert response.json["accessToken"] != first["accessToken"]
    assert refresh_token_of(client) != before
    assert client.get_cookie("access_token").value == response.json["accessToken"]
    assert client.get(f"{AUTH}/me").status_code == 200


def test_the_refresh_cookie_precedes_the_authorization_header(client: FlaskClient) -> None:
    csrf = register(client).json["csrfToken"]
    headers = {"X-CSRF-Token": csrf, "Authorization": "Bearer expired.or.worse"}
    assert client.post(f"{AUTH}/refresh", headers=headers).status_code == 200
    assert client.post(f"{AUTH}/logout", headers=headers).status_code == 204


def test_a_refresh_needs_a_refresh_token(alice: User, app: Flask) -> None:
    assert_error(app.test_client().post(f"{AUTH}/refresh"), 401, "auth_missing")
    assert_error(refresh_with(app, alice.token), 401, "auth_invalid")


def test_the_database_stores_no_password_token_or_key(
    client: FlaskClient, sql: Callable[..., Any]
) -> None:
    body = register(client).json
    stored = str(sql("SELECT * FROM users, sessions, refresh_tokens"))
    signature = refresh_token_of(client).rpartition(".")[2]
    for secret in (PASSWORD, body["csrfToken"], signature, SECRET):
        assert secret not in stored


def test_an_expired_session_cannot_be_refreshed(
    client: FlaskClient, sql: Callable[..., Any]
) -> None:
    csrf = register(client).json["csrfToken"]
    sql("UPDATE sessions SET expires_at = now()")
    assert_error(refresh(client, csrf), 401, "auth_revoked")


def test_a_session_lasts_a_week_from_its_last_refresh(
    client: FlaskClient, sql: Callable[..., Any]
) -> None:
    csrf = register(client).json["csrfToken"]
    sql("UPDATE sessions SET expires_at = now() + interval '1 second'")
    refresh(client, csrf)
    [(left,)] = sql("SELECT extract(epoch FROM expires_at - now()) FROM sessions")
    assert 604800 - 60 < left <= 604800


def test_a_session_ends_session_max_days_after_its_login(
    app_with: Callable[..., Flask], sql: Callable[..., Any]
) -> None:
    app = app_with(session_max_days=10)
    browser = app.test_client()
    csrf = register(browser).json["csrfToken"]
    sql("UPDATE sessions SET created_at = now() - interval '9 days'")
    assert refresh(browser, csrf).status_code == 200
    [(left,)] = sql("SELECT extract(epoch FROM expires_at - now()) FROM sessions")
    assert 86_400 - 60 < left <= 86_400
    sql("UPDATE sessions SET created_at = now() - interval '10 days'")
    assert_error(refresh(browser, csrf), 401, "auth_revoked")
    assert sql("SELECT id FROM sessions") == []


def test_session_max_days_may_be_shorter_than_a_week(
    app_with: Callable[..., Flask], sql: Callable[..., Any]
) -> None:
    register(app_with(session_max_days=1).test_client())
    assert sql("SELECT extract(epoch FROM expires_at - created_at)::int FROM sessions") == [
        (86_400,)
    ]


@pytest.mark.parametrize("route", ["login", "register"])
def test_a_new_session_ends_the_one_whose_refresh_cookie_is_sent(
    client: FlaskClient, alice: User, app: Flask, route: str
) -> None:
    register(client)
    replaced = refresh_token_of(client)
    credentials = {"login": CREDENTIALS, "register": {**CREDENTIALS, "email": "dan@example.com"}}
    assert client.post(f"{AUTH}/{route}", json=credentials[route]).status_code < 300
    assert refresh_with(app, refresh_token_of(client)).status_code == 200
    assert_error(refresh_with(app, replaced), 401, "auth_revoked")
    assert alice.get("/auth/me").status_code == 200  # another session of another account


def test_a_failed_login_ends_no_session(client: FlaskClient) -> None:
    register(client)
    wrong = {**CREDENTIALS, "password": "wrong horse battery"}
    assert_error(client.post(f"{AUTH}/login", json=wrong), 401, "invalid_credentials")
    assert_error(client.post(f"{AUTH}/register", json=CREDENTIALS), 409, "email_taken")
    assert client.get(f"{AUTH}/me").status_code == 200


def test_a_login_with_an_invalid_refresh_cookie_succeeds(client: FlaskClient) -> None:
    register(client)
    client.set_cookie("refresh_token", "garbage", path=AUTH)
    assert client.post(f"{AUTH}/login", json=CREDENTIALS).status_code == 200


def test_logging_out_ends_the_session_and_clears_the_cookies(
    client: FlaskClient, app: Flask
) -> None:
    csrf = register(client).json["csrfToken"]
    token = refresh_token_of(client)
    response = client.post(f"{AUTH}/logout", headers={"X-CSRF-Token": csrf})
    assert (response.status_code, response.data) == (204, b"")
    for name, path in (("access_token", "/"), ("refresh_token", AUTH), ("csrf_token", "/")):
        assert client.get_cookie(name, path=path) is None
    assert_error(refresh_with(app, token), 401, "auth_revoked")
    assert_error(client.post(f"{AUTH}/logout"), 401, "auth_missing")


def test_any_token_of_a_session_can_log_out_repeatedly(
    client: FlaskClient, alice: User, app: Flask
) -> None:
    csrf = register(client).json["csrfToken"]
    token = refresh_token_of(client)
    bare = app.test_client(use_cookies=False)
    for bearer in (token, alice.token):
        for _ in range(2):
            headers = {"Authorization": f"Bearer {bearer}"}
            assert bare.post(f"{AUTH}/logout", headers=headers).status_code == 204
        assert_error(refresh_with(app, token), 401, "auth_revoked")
    client.delete_cookie("refresh_token", path=AUTH)
    headers = {"X-CSRF-Token": csrf}
    assert_error(client.post(f"{AUTH}/logout"), 403, "csrf_failed")
    assert client.post(f"{AUTH}/logout", headers=headers).status_code == 204


def test_sessions_are_listed_newest_first_and_revoked_one_by_one(alice: User, app: Flask) -> None:
    other = app.test_client()
    agent = {"User-Agent": "Firefox/150"}
    login = other.post(
        f"{AUTH}/login", json={"email": alice.email, "password": PASSWORD}, headers=agent
    )
    newest, oldest = alice.get("/auth/sessions").json["data"]
    assert set(newest) == {
        "id", "createdAt", "lastUsedAt", "expiresAt", "userAgent", "ipAddress", "current",
    }  # fmt: skip
    assert (newest["userAgent"], newest["ipAddress"]) == ("Firefox/150", "127.0.0.1")
    assert (newest["current"], oldest["current"]) == (False, True)
    assert newest["id"] == claims_of(login.json["accessToken"])["sid"]
    assert alice.delete(f"/auth/sessions/{newest['id']}").status_code == 204
    assert_error(refresh(other, login.json["csrfToken"]), 401, "auth_revoked")
    assert_error(alice.delete(f"/auth/sessions/{newest['id']}"), 404, "not_found")
    assert len(alice.get("/auth/sessions").json["data"]) == 1


def test_another_users_session_looks_like_a_missing_one(alice: User, bob: User) -> None:
    [session] = alice.get("/auth/sessions").json["data"]
    for session_id in (session["id"], "01890000-0000-7000-8000-000000000000", "x"):
        assert_error(bob.delete(f"/auth/sessions/{session_id}"), 404, "not_found")
    assert len(alice.get("/auth/sessions").json["data"]) == 1


def test_the_client_address_is_taken_from_the_trusted_proxies(
    app_with: Callable[..., Flask],
) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.1, 203.0.113.2"}
    for proxies, address in ((0, "127.0.0.1"), (1, "203.0.113.2"), (2, "203.0.113.1")):
        email = f"proxy{proxies}@example.com"
        user = User(app_with(trusted_proxies=proxies), email)
        credentials = {"email": email, "password": PASSWORD}
        user.post("/auth/login", credentials, headers=forwarded)
        assert user.get("/auth/sessions").json["data"][0]["ipAddress"] == address


def test_an_invalid_refresh_cookie_does_not_prevent_a_logout(
    client: FlaskClient, alice: User
) -> None:
    client.set_cookie("refresh_token", "garbage", path=AUTH)
    assert_error(client.post(f"{AUTH}/logout"), 401, "auth_invalid")
    bearer = {"Authorization": f"Bearer {alice.token}"}
    response = client.post(f"{AUTH}/logout", headers=bearer)
    assert response.status_code == 204
    assert client.get_cookie("refresh_token", path=AUTH) is None
    assert_error(alice.get("/auth/me"), 401, "auth_revoked")
