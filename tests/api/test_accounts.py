"""A user can register an account, log in, change the password and delete the account."""

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


EQUAL_EMAILS = {
    "case outside ASCII": ("ünal@example.com", "ÜNAL@example.com"),
    "sharp s": ("Strauß@example.com", "STRAUSS@example.com"),
    "final sigma": ("ΝΙΚΟΣ@example.com", "νικος@example.com"),
    "combining marks": ("u\u0308nal@example.com", "\u00fcnal@example.com"),
    "white space at both ends": ("ann@example.com", " \u3000ann@example.com\n"),
    "domain in A-labels": ("ann@münchen.example", "ann@xn--mnchen-3ya.example"),
    "case of A-labels": ("ann@XN--Mnchen-3ya.example", "ann@MÜNCHEN.example"),
    "fullwidth domain": ("ann@example.com", "ann@\uff25\uff38\uff21\uff2d\uff30\uff2c\uff25.com"),
    "ideographic full stop": ("ann@example.com", "ann@example。com"),
    "combining marks in a domain": ("ann@mu\u0308nchen.example", "ann@m\u00fcnchen.example"),
}
DIFFERENT_EMAILS = {
    "fullwidth local part": ("ann@example.com", "\uff41\uff4e\uff4e@example.com"),
    "dotless i": ("ina@example.com", "\u0131na@example.com"),
    "sharp s in a domain": ("ann@straße.example", "ann@strasse.example"),
    "accent": ("ann@example.com", "ánn@example.com"),
}


@pytest.mark.parametrize(("registered", "other"), EQUAL_EMAILS.values(), ids=list(EQUAL_EMAILS))
def test_equivalent_emails_are_one_account(
    client: FlaskClient, registered: str, other: str
) -> None:
    assert register(client, email=registered).json["user"]["email"] == registered.strip()
    account = {"email": other, "password": PASSWORD}
    assert_error(client.post(f"{AUTH}/register", json=account), 409, "email_taken")
    login = client.post(f"{AUTH}/login", json=account)
    assert login.json["user"]["email"] == registered.strip()


@pytest.mark.parametrize(
    ("registered", "other"), DIFFERENT_EMAILS.values(), ids=list(DIFFERENT_EMAILS)
)
def test_emails_that_only_look_alike_are_two_accounts(
    client: FlaskClient, registered: str, other: str
) -> None:
    users = [register(client, email=email).json["user"] for email in (registered, other)]
    assert users[0]["id"] != users[1]["id"]


NFC, NFD = "gr\u00fcner Tee h\u00e4ufig", "gru\u0308ner Tee ha\u0308ufig"


@pytest.mark.parametrize(("chosen", "typed"), [(NFC, NFD), (NFD, NFC)], ids=["NFC", "NFD"])
def test_equivalent_forms_of_a_password_are_one_password(
    client: FlaskClient, chosen: str, typed: str
) -> None:
    register(client, password=chosen)
    login = {**CREDENTIALS, "password": typed}
    assert client.post(f"{AUTH}/login", json=login).status_code == 200
    fullwidth = {**CREDENTIALS, "password": NFC.replace("T", "\uff34")}
    assert_error(client.post(f"{AUTH}/login", json=fullwidth), 401, "invalid_credentials")
    trailing = {**CREDENTIALS, "password": f"{NFC} "}
    assert_error(client.post(f"{AUTH}/login", json=trailing), 401, "invalid_credentials")


def test_a_hash_of_a_password_that_is_not_in_nfc_is_renewed_once(
    client: FlaskClient, sql: Callable[..., Any]
) -> None:
    register(client)
    raw = passwords.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash(NFD)
    sql("UPDATE users SET password_hash = %s", raw)
    hashes = [raw]
    for typed in (NFD, NFD, NFC):
        login = {**CREDENTIALS, "password": typed}
        assert client.post(f"{AUTH}/login", json=login).status_code == 200
        hashes += sql("SELECT password_hash FROM users")[0]
    assert hashes[0] != hashes[1] == hashes[2] == hashes[3]


def test_a_password_of_combining_marks_is_refused_at_once(client: FlaskClient) -> None:
    started = time.thread_time()
    body = {**CREDENTIALS, "password": "a\u0301\u0316" * 60_000}
    assert_error(client.post(f"{AUTH}/register", json=body), 400, "validation_error", "password")
    assert time.thread_time() - started < 1  # normalising the password would take minutes


def test_the_length_of_a_password_counts_in_nfc(client: FlaskClient) -> None:
    register(client, password="a\u0308" * 128)
    longer = {"email": "dan@example.com", "password": "a\u0308" * 129}
    assert_error(client.post(f"{AUTH}/register", json=longer), 400, "validation_error", "password")


GUESSABLE = {
    "service": "TaskFlow",
    "service and a year": "taskflow2026",
    "four characters around the service": "!!TASKFLOW!!",
    "email": "lena.müller@example.com",
    "email in A-labels": "lena.mu\u0308ller@example.com!",
    "local part": "Lena.Müller",
    "four characters after the local part": "lena.müller1234",
}


@pytest.mark.parametrize(
    ("password", "is_refused"),
    [
        *[pytest.param(password, True, id=name) for name, password in GUESSABLE.items()],
        pytest.param("taskflow12345", False, id="five characters after the service"),
        pytest.param("lena.muller", False, id="another letter"),
    ],
)
def test_a_password_of_context_words_is_refused(
    client: FlaskClient, password: str, is_refused: bool
) -> None:
    account = {"email": "Lena.Müller@example.com", "password": password}
    response = client.post(f"{AUTH}/register", json=account)
    if is_refused:
        assert_error(response, 400, "validation_error", "password")
    else:
        assert response.status_code == 201


def test_a_new_password_must_not_be_the_email(alice: User) -> None:
    change = {"currentPassword": PASSWORD, "newPassword": "Alice@example.com1"}
    response = alice.request("PUT", "/auth/password", json=change)
    assert_error(response, 400, "validation_error", "newPassword")


@pytest.mark.parametrize("password", ["password1", "QWERTYUIOP", "12345678", "Iloveyou"])
def test_common_passwords_are_refused(client: FlaskClient, password: str) -> None:
    response = client.post(f"{AUTH}/register", json={**CREDENTIALS, "password": password})
    assert_error(response, 400, "validation_error", "password")


def test_an_unknown_email_and_a_wrong_password_are_answered_alike(client: FlaskClient) -> None:
    register(client)

    def attempt(**changes: str) -> tuple[dict[str, Any], float]:
        started = time.thread_time()  # CPU time, which other processes do not add to
        response = client.post(f"{AUTH}/login", json={**CREDENTIALS, **changes})
        took = time.thread_time() - started
        assert_error(response, 401, "invalid_credentials")
        return {**response.json["error"], "correlationId": None}, took

    wrong = [attempt(password="wrong horse battery") for _ in range(7)]
    unknown = [attempt(email="nobody@example.com") for _ in range(7)]
    assert len({str(body) for body, _ in wrong + unknown}) == 1
    fastest_wrong, fastest_unknown = min(t for _, t in wrong), min(t for _, t in unknown)
    # A hash takes tens of milliseconds. An answer without one would be faster by a factor of ten.
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
