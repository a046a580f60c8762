"""A session begins, goes on and ends as the contract says; nobody else gets into it."""

import base64
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from taskflow.auth import passwords
from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD, SECRET
from tests.support.sessions import (
    AUTH,
    CREDENTIALS,
    new_token,
    refresh,
    refresh_token_of,
    register,
    use,
)
from tests.support.users import User


@pytest.fixture
def later(sql: Callable[..., Any]) -> Callable[[int], None]:
    """Let seconds pass for the refresh tokens, by moving what happened into the past."""

    def move(seconds: int) -> None:
        sql(
            "UPDATE refresh_tokens SET issued_at = issued_at - %s * interval '1 second',"
            " rotated_at = rotated_at - %s * interval '1 second'",
            seconds,
            seconds,
        )

    return move


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, SECRET, algorithms=["HS256"], audience="taskflow-api")


def test_registering_begins_a_session(client: FlaskClient) -> None:
    response = register(client, email="Carol@Example.com")
    body = response.json
    assert set(body) == {"user", "accessToken", "tokenType", "expiresIn", "csrfToken"}
    assert set(body["user"]) == {"id", "email", "createdAt"}
    assert body["user"]["email"] == "Carol@Example.com"
    assert (body["tokenType"], body["expiresIn"]) == ("Bearer", 900)
    claims = claims_of(body["accessToken"])
    assert {"sub", "sid", "iss", "aud", "iat", "exp", "jti"} <= set(claims)
    assert claims["sub"] == body["user"]["id"]
    assert (claims["iss"], claims["aud"]) == ("taskflow", "taskflow-api")
    assert claims["exp"] - claims["iat"] == 900
    assert response.headers["Cache-Control"] == "no-store"


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


def test_an_email_is_unique_regardless_of_case(client: FlaskClient) -> None:
    register(client, email="Ünal@Example.com")
    for email in ("ünal@example.com", "ÜNAL@EXAMPLE.COM"):
        response = client.post(f"{AUTH}/register", json={**CREDENTIALS, "email": email})
        assert_error(response, 409, "email_taken")
        login = client.post(f"{AUTH}/login", json={**CREDENTIALS, "email": email})
        assert login.json["user"]["email"] == "Ünal@Example.com"


@pytest.mark.parametrize("password", ["password1", "QWERTYUIOP", "12345678", "Iloveyou"])
def test_common_passwords_are_refused(client: FlaskClient, password: str) -> None:
    response = client.post(f"{AUTH}/register", json={**CREDENTIALS, "password": password})
    assert_error(response, 400, "validation_error", "password")


def test_an_unknown_email_and_a_wrong_password_are_answered_alike(client: FlaskClient) -> None:
    register(client)

    def attempt(**changes: str) -> tuple[dict[str, Any], float]:
        started = time.thread_time()  # CPU: other processes do not count
        response = client.post(f"{AUTH}/login", json={**CREDENTIALS, **changes})
        took = time.thread_time() - started
        assert_error(response, 401, "invalid_credentials")
        return {**response.json["error"], "correlationId": None}, took

    wrong = [attempt(password="wrong horse battery") for _ in range(7)]
    unknown = [attempt(email="nobody@example.com") for _ in range(7)]
    assert len({str(body) for body, _ in wrong + unknown}) == 1
    fastest_wrong, fastest_unknown = min(t for _, t in wrong), min(t for _, t in unknown)
    # Hashing takes tens of milliseconds: leaving it out would show as a factor of ten.
    assert 0.3 < fastest_wrong / fastest_unknown < 3


def test_passwords_are_hashed_with_argon2id_at_owasps_parameters(
    alice: User, sql: Callable[..., Any]
) -> None:
    [(stored,)] = sql("SELECT password_hash FROM users")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_hash_with_other_parameters_is_renewed_at_login(
    client: FlaskClient, sql: Callable[..., Any]
) -> None:
    register(client)
    old = passwords.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    sql("UPDATE users SET password_hash = %s", old)
    assert client.post(f"{AUTH}/login", json=CREDENTIALS).status_code == 200
    [(renewed,)] = sql("SELECT password_hash FROM users")
    assert "m=19456,t=2,p=1" in renewed
    assert client.post(f"{AUTH}/login", json=CREDENTIALS).status_code == 200


def test_a_bearer_token_precedes_the_cookie_and_its_scheme_has_any_case(
    client: FlaskClient, alice: User
) -> None:
    register(client)
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {alice.token}"}
        assert client.get(f"{AUTH}/me", headers=headers).json["email"] == alice.email
    assert client.get(f"{AUTH}/me").json["email"] == CREDENTIALS["email"]
    for header in ("Bearer", "Basic YTpi", ""):  # no token: the cookie's turn
        response = client.get(f"{AUTH}/me", headers={"Authorization": header})
        assert response.json["email"] == CREDENTIALS["email"]
    for header in ("Bearer a b", "Bearer x.y.z", "Bearer é"):
        response = client.get(f"{AUTH}/me", headers={"Authorization": header})
        assert_error(response, 401, "auth_invalid")


def test_a_request_without_a_token_gets_a_challenge_without_an_error(client: FlaskClient) -> None:
    response = client.get(f"{AUTH}/me")
    assert_error(response, 401, "auth_missing")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="taskflow"'  # RFC 6750 3.1


@pytest.mark.parametrize(
    ("changes", "key", "algorithm", "code"),
    [
        ({}, "another-secret-of-more-than-32-bytes!", "HS256", "auth_invalid"),
        ({}, SECRET * 2, "HS512", "auth_invalid"),
        ({"iss": "staging"}, SECRET, "HS256", "auth_invalid"),
        ({"aud": "another-api"}, SECRET, "HS256", "auth_invalid"),
        ({"type": "refresh"}, SECRET, "HS256", "auth_invalid"),
        ({"sub": "not-a-uuid"}, SECRET, "HS256", "auth_invalid"),
        ({"sub": 1}, SECRET, "HS256", "auth_invalid"),
        ({"sid": None}, SECRET, "HS256", "auth_invalid"),
        ({"exp": "soon"}, SECRET, "HS256", "auth_invalid"),
        ({"exp": int(time.time()) - 1}, SECRET, "HS256", "auth_expired"),
        ({"iat": int(time.time()) + 60}, SECRET, "HS256", None),  # another host's clock
    ],
)
def test_a_token_is_accepted_only_with_the_right_key_and_claims(
    alice: User, changes: dict[str, Any], key: str, algorithm: str, code: str | None
) -> None:
    token = jwt.encode({**claims_of(alice.token), **changes}, key, algorithm)
    response = alice.get("/tasks", headers={"Authorization": f"Bearer {token}"})
    if code:
        assert_error(response, 401, code)
    else:
        assert response.status_code == 200


def test_a_token_without_a_signature_is_refused(alice: User) -> None:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    payload = alice.token.split(".")[1]
    token = f"{header.decode().rstrip('=')}.{payload}."
    response = alice.get("/tasks", headers={"Authorization": f"Bearer {token}"})
    assert_error(response, 401, "auth_invalid")


def test_a_token_that_was_verified_before_expires_on_time(alice: User) -> None:
    expires = int(time.time()) + 2
    token = jwt.encode({**claims_of(alice.token), "exp": expires}, SECRET)
    headers = {"Authorization": f"Bearer {token}"}
    assert alice.get("/tasks", headers=headers).status_code == 200
    assert alice.get("/tasks", headers=headers).status_code == 200
    time.sleep(expires - time.time() + 0.01)
    assert_error(alice.get("/tasks", headers=headers), 401, "auth_expired")


def test_the_previous_key_verifies_only_while_keys_are_rotated(
    alice: User, app_with: Callable[..., Flask]
) -> None:
    new = "the-new-secret-of-more-than-32-bytes"
    headers = {"Authorization": f"Bearer {alice.token}"}
    rotating = app_with(jwt_secret=new, jwt_secret_previous=SECRET).test_client()
    assert rotating.get(f"{AUTH}/me", headers=headers).status_code == 200
    rotated = app_with(jwt_secret=new).test_client()
    assert_error(rotated.get(f"{AUTH}/me", headers=headers), 401, "auth_invalid")
    signed_anew = register(rotating).json["accessToken"]
    headers = {"Authorization": f"Bearer {signed_anew}"}
    assert rotated.get(f"{AUTH}/me", headers=headers).status_code == 200


def test_an_unsafe_request_with_cookies_needs_the_csrf_token(client: FlaskClient) -> None:
    csrf = register(client).json["csrfToken"]
    assert client.get_cookie("csrf_token").value == csrf
    assert client.get("/api/v1/tasks").status_code == 200
    for headers in ({}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": ""}):
        response = client.post("/api/v1/tasks", json={"title": "x"}, headers=headers)
        assert_error(response, 403, "csrf_failed")
        assert_error(client.post(f"{AUTH}/refresh", headers=headers), 403, "csrf_failed")
        assert_error(client.post(f"{AUTH}/logout", headers=headers), 403, "csrf_failed")
    headers = {"X-CSRF-Token": csrf}
    assert client.post("/api/v1/tasks", json={"title": "x"}, headers=headers).status_code == 201


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
    assert_error(use(app, alice.token), 401, "auth_invalid")


def test_a_rotated_token_works_for_another_30_seconds(
    client: FlaskClient, app: Flask, later: Callable[[int], None]
) -> None:
    register(client)
    first = refresh_token_of(client)
    second = new_token(use(app, first))
    later(29)
    third = new_token(use(app, first))
    fourth = new_token(use(app, second))
    assert len({first, second, third, fourth}) == 4
    later(2)
    assert_error(use(app, first), 401, "auth_revoked")


def test_reusing_a_rotated_token_ends_the_session(
    client: FlaskClient, app: Flask, later: Callable[[int], None], sql: Callable[..., Any]
) -> None:
    register(client)
    first = refresh_token_of(client)
    second = new_token(use(app, first))
    third = new_token(use(app, second))
    later(31)
    assert_error(use(app, second), 401, "auth_revoked")
    assert_error(use(app, third), 401, "auth_revoked")
    assert sql("SELECT id FROM sessions") == []


def test_tabs_stay_logged_in_when_refresh_answers_arrive_out_of_order(
    client: FlaskClient, app: Flask, later: Callable[[int], None]
) -> None:
    register(client)
    first = refresh_token_of(client)
    late = new_token(use(app, first))  # on its way while the other tab refreshes twice
    second = new_token(use(app, first))
    third = new_token(use(app, second))
    later(600)
    # The late answer overwrote the cookie.
    fourth = new_token(use(app, late))
    later(600)
    fifth = new_token(use(app, fourth))
    # A tab that kept another one of them goes on too: it was never rotated out.
    assert use(app, third).status_code == 200
    assert_error(use(app, late), 401, "auth_revoked")
    assert_error(use(app, fifth), 401, "auth_revoked")


def test_a_refresh_deletes_the_refresh_tokens_that_have_expired(
    client: FlaskClient, app: Flask, later: Callable[[int], None], sql: Callable[..., Any]
) -> None:
    register(client)
    token = refresh_token_of(client)
    for _ in range(20):
        token = new_token(use(app, token))
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
    assert_error(use(app, token), 401, "auth_revoked")
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
        assert_error(use(app, token), 401, "auth_revoked")
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


def test_changing_the_password_ends_every_other_session(alice: User, app: Flask) -> None:
    other = app.test_client()
    credentials = {"email": alice.email, "password": PASSWORD}
    csrf = other.post(f"{AUTH}/login", json=credentials).json["csrfToken"]
    change = {"currentPassword": "wrong horse battery", "newPassword": "new horse battery"}
    assert_error(alice.request("PUT", "/auth/password", json=change), 401, "invalid_credentials")
    change["currentPassword"] = PASSWORD
    assert alice.request("PUT", "/auth/password", json=change).status_code == 204
    assert_error(refresh(other, csrf), 401, "auth_revoked")
    assert [s["current"] for s in alice.get("/auth/sessions").json["data"]] == [True]
    assert_error(other.post(f"{AUTH}/login", json=credentials), 401, "invalid_credentials")
    credentials["password"] = "new horse battery"
    assert other.post(f"{AUTH}/login", json=credentials).status_code == 200


def test_deleting_an_account_deletes_all_its_data(
    alice: User, bob: User, sql: Callable[..., Any]
) -> None:
    alice.task()
    alice.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": "k"})
    kept = bob.task()
    wrong = {"password": "wrong horse battery"}
    assert_error(alice.delete("/auth/me", json=wrong), 401, "invalid_credentials")
    assert alice.delete("/auth/me", json={"password": PASSWORD}).status_code == 204
    for table in ("users", "sessions", "tasks", "idempotency_keys"):
        column = "id" if table == "users" else "user_id"
        assert sql(f"SELECT count(*) FROM {table} WHERE {column} = %s", alice.id) == [(0,)]
    assert bob.get("/tasks").json["data"] == [kept]
    # Its access token is good for nothing that would need it.
    assert_error(alice.get("/auth/me"), 401, "auth_revoked")
    assert_error(alice.get("/auth/sessions"), 401, "auth_revoked")
    assert_error(alice.post("/tasks", {"title": "x"}), 401, "auth_revoked")
    assert_error(alice.delete("/auth/me", json={"password": PASSWORD}), 401, "auth_revoked")


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


def test_concurrent_logins_that_renew_a_hash_all_succeed(
    alice: User, app: Flask, sql: Callable[..., Any]
) -> None:
    old = passwords.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    credentials = {"email": alice.email, "password": PASSWORD}
    for _ in range(3):
        sql("UPDATE users SET password_hash = %s", old)
        logins = [lambda: app.test_client().post(f"{AUTH}/login", json=credentials)] * 4
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda login: login(), logins))
        assert [answer.status_code for answer in answers] == [200] * 4


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
