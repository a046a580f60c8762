"""An account is registered, logs in, changes its password and is deleted."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from taskflow.auth import passwords
from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.sessions import (
    AUTH,
    CREDENTIALS,
    claims_of,
    refresh,
    register,
)
from tests.support.users import User


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
    # A hash takes tens of milliseconds: to skip it would show as a factor of ten.
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
    # The access token works on no route that needs the account.
    assert_error(alice.get("/auth/me"), 401, "auth_revoked")
    assert_error(alice.get("/auth/sessions"), 401, "auth_revoked")
    assert_error(alice.post("/tasks", {"title": "x"}), 401, "auth_revoked")
    assert_error(alice.delete("/auth/me", json={"password": PASSWORD}), 401, "auth_revoked")


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
