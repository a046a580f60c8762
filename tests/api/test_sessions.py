"""A session starts, is refreshed, is listed and ends as the contract says."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD, SECRET
from tests.support.sessions import (
    AUTH,
    claims_of,
    new_token,
    refresh,
    refresh_token_of,
    refresh_with,
    register,
)
from tests.support.users import User


@pytest.fixture
def later(sql: Callable[..., Any]) -> Callable[[int], None]:
    """Return a function that makes the refresh tokens older by some seconds."""

    def move(seconds: int) -> None:
        sql(
            "UPDATE refresh_tokens SET issued_at = issued_at - %s * interval '1 second',"
            " rotated_at = rotated_at - %s * interval '1 second'",
            seconds,
            seconds,
        )

    return move


def test_session_cookies_have_restrictive_attributes(client: FlaskClient, app_with: Any) -> None:
    register(client)
    production = app_with(production=True, cookie_samesite="Lax").test_client()
    register(production, email="dave@example.com")
    for browser, secure, same_site in ((client, False, "Strict"), (production, True, "Lax")):
        access = browser.get_cookie("access_token")
        refreshing = browser.get_cookie("refresh_token", path=AUTH)
        csrf = browser.get_cookie("csrf_token")
        for cookie in (access, refreshing, csrf):
            assert (cookie.secure, cookie.same_site) == (secure, same_site)
        assert (access.http_only, refreshing.http_only, csrf.http_only) == (True, True, False)
        assert (access.max_age, refreshing.max_age, csrf.max_age) == (900, 604800, 604800)
    assert production.get("/health").headers["Strict-Transport-Security"]


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


def test_a_rotated_token_works_for_another_30_seconds(
    client: FlaskClient, app: Flask, later: Callable[[int], None]
) -> None:
    register(client)
    first = refresh_token_of(client)
    second = new_token(refresh_with(app, first))
    later(29)
    third = new_token(refresh_with(app, first))
    fourth = new_token(refresh_with(app, second))
    assert len({first, second, third, fourth}) == 4
    later(2)
    assert_error(refresh_with(app, first), 401, "auth_revoked")


def test_reusing_a_rotated_token_ends_the_session(
    client: FlaskClient, app: Flask, later: Callable[[int], None], sql: Callable[..., Any]
) -> None:
    register(client)
    first = refresh_token_of(client)
    second = new_token(refresh_with(app, first))
    third = new_token(refresh_with(app, second))
    later(31)
    assert_error(refresh_with(app, second), 401, "auth_revoked")
    assert_error(refresh_with(app, third), 401, "auth_revoked")
    assert sql("SELECT id FROM sessions") == []


def test_tabs_stay_logged_in_when_refresh_answers_arrive_out_of_order(
    client: FlaskClient, app: Flask, later: Callable[[int], None]
) -> None:
    register(client)
    first = refresh_token_of(client)
    late = new_token(refresh_with(app, first))  # arrives after the other tab has refreshed twice
    second = new_token(refresh_with(app, first))
    third = new_token(refresh_with(app, second))
    later(600)
    # The late answer overwrote the cookie.
    fourth = new_token(refresh_with(app, late))
    later(600)
    fifth = new_token(refresh_with(app, fourth))
    # A tab that kept another token stays logged in too: that one was never rotated.
    assert refresh_with(app, third).status_code == 200
    assert_error(refresh_with(app, late), 401, "auth_revoked")
    assert_error(refresh_with(app, fifth), 401, "auth_revoked")


def test_a_session_stores_two_refresh_tokens_at_most(
    client: FlaskClient, app: Flask, later: Callable[[int], None], sql: Callable[..., Any]
) -> None:
    register(client)
    token = refresh_token_of(client)
    for _ in range(20):
        token = new_token(refresh_with(app, token))
        later(31)
    assert sql("SELECT count(*) FROM refresh_tokens") == [(2,)]


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
