"""A user can change the email, and reset a forgotten password with a token from the operator."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import TimestampSigner

from taskflow.auth import passwords
from taskflow.auth.resets import make_reset_token
from taskflow.ids import new_id
from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD, SECRET
from tests.support.threads import at_once
from tests.support.users import User

AUTH = "/api/v1/auth"
NEW = "new horse battery"


@pytest.fixture
def token(alice: User, sql: Callable[..., Any]) -> str:
    """Return a token that resets the password of alice."""
    return make_token(sql, alice)


def make_token(sql: Callable[..., Any], user: User, secret: str = SECRET) -> str:
    [(password_hash,)] = sql("SELECT password_hash FROM users WHERE id = %s", user.id)
    return make_reset_token(user.id, password_hash, [secret])


def reset(client: FlaskClient, token: str, password: str = NEW) -> Any:
    body = {"token": token, "newPassword": password}
    return client.post(f"{AUTH}/password/reset", json=body)


def log_in(client: FlaskClient, email: str, password: str) -> int:
    credentials = {"email": email, "password": password}
    return client.post(f"{AUTH}/login", json=credentials).status_code


def change_email(user: User, email: str, password: str = PASSWORD) -> Any:
    return user.request("PUT", "/auth/email", json={"email": email, "password": password})


def test_changing_the_email_keeps_the_session(alice: User, client: FlaskClient) -> None:
    response = change_email(alice, " Älice@Work.example\n")
    assert response.status_code == 200
    assert response.json == {**alice.session.json["user"], "email": "Älice@Work.example"}
    assert alice.get("/auth/me").json == response.json
    assert log_in(client, "älice@work.EXAMPLE", PASSWORD) == 200
    assert log_in(client, alice.email, PASSWORD) == 401


def test_changing_the_email_needs_the_password_and_a_free_email(alice: User, bob: User) -> None:
    assert_error(change_email(alice, "a@b.example", "wrong horse"), 401, "invalid_credentials")
    assert_error(change_email(alice, "BOB@example.com"), 409, "email_taken")
    assert_error(change_email(alice, "alice@"), 400, "validation_error", "email")
    assert_error(change_email(alice, "a" * 243 + "@example.com"), 400, "validation_error", "email")
    assert change_email(alice, "a" * 242 + "@example.com").status_code == 200
    assert change_email(alice, "ALICE@example.com").status_code == 200
    assert change_email(alice, "alice@example.com").status_code == 200  # its own


def test_a_reset_changes_the_password_and_ends_every_session(
    alice: User, bob: User, client: FlaskClient, token: str
) -> None:
    assert reset(client, token).status_code == 204
    assert_error(alice.get("/auth/me"), 401, "auth_revoked")
    assert_error(alice.get("/tasks"), 401, "auth_revoked")
    assert bob.get("/tasks").status_code == 200
    assert log_in(client, alice.email, PASSWORD) == 401
    assert log_in(client, alice.email, NEW) == 200


def test_a_reset_token_works_once(client: FlaskClient, token: str) -> None:
    answers = at_once([lambda n=n: reset(client, token, f"{NEW} {n}") for n in range(4)])
    assert sorted(answer.status_code for answer in answers) == [204, 401, 401, 401]
    assert_error(reset(client, token), 401, "auth_invalid")


def test_a_second_reset_token_does_not_void_the_first(
    alice: User, client: FlaskClient, token: str, sql: Callable[..., Any]
) -> None:
    second = make_token(sql, alice)
    assert reset(client, token).status_code == 204
    assert_error(reset(client, second), 401, "auth_invalid")


def test_a_reset_token_is_void_once_the_password_has_changed(
    alice: User, client: FlaskClient, token: str
) -> None:
    change = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert alice.request("PUT", "/auth/password", json=change).status_code == 204
    assert_error(reset(client, token), 401, "auth_invalid")


@pytest.mark.parametrize("age", [0, 3590, 3610, 10**7])
def test_a_reset_token_works_for_an_hour(
    client: FlaskClient,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    age: int,
    alice: User,
    sql: Callable[..., Any],
) -> None:
    with monkeypatch.context() as patched:
        made = TimestampSigner.get_timestamp
        patched.setattr(TimestampSigner, "get_timestamp", lambda self: made(self) - age)
        old = make_token(sql, alice)
    if age < 3600:
        assert reset(client, old).status_code == 204
    else:
        assert_error(reset(client, old), 401, "auth_expired")


def test_a_reset_token_of_a_faster_clock_works(
    alice: User, client: FlaskClient, sql: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        made = TimestampSigner.get_timestamp
        patched.setattr(TimestampSigner, "get_timestamp", lambda self: made(self) + 30)
        early = make_token(sql, alice)
    assert reset(client, early).status_code == 204


def test_a_damaged_reset_token_is_invalid(
    client: FlaskClient, alice: User, bob: User, token: str
) -> None:
    user_id, stamp, signature = token.split(".")
    for damaged in (
        "x", ".", "..", user_id, f"{user_id}.{stamp}", f"{user_id}..{signature}", token + "x",
        token[:-1], f"{bob.id}.{stamp}.{signature}", f"{user_id}.AAAA.{signature}",
        f"{new_id()}.{stamp}.{signature}", token.upper(), f" {token}", "ä", alice.token,
        f"{user_id}.{stamp}.é", "x" * 1024,
    ):  # fmt: skip
        assert_error(reset(client, damaged), 401, "auth_invalid")
    assert_error(reset(client, "x" * 1025), 400, "validation_error", "token")
    assert_error(reset(client, ""), 400, "validation_error", "token")
    assert reset(client, token).status_code == 204


def test_a_reset_token_of_another_key_is_invalid_unless_keys_are_rotated(
    alice: User, client: FlaskClient, app_with: Callable[..., Flask], sql: Callable[..., Any]
) -> None:
    other = "another-secret-of-more-than-32-bytes-in-all"
    old = make_token(sql, alice, other)
    assert_error(reset(client, old), 401, "auth_invalid")
    rotating = app_with(jwt_secret_previous=other).test_client()
    assert reset(rotating, old).status_code == 204


def test_a_reset_token_of_a_deleted_account_is_invalid(
    alice: User, client: FlaskClient, token: str
) -> None:
    assert alice.delete("/auth/me", json={"password": PASSWORD}).status_code == 204
    assert_error(reset(client, token), 401, "auth_invalid")


@pytest.mark.parametrize(
    "password",
    ["short", "password1", "taskflow1", "alice@example.com"],
    ids=["short", "common", "service", "email"],
)
def test_a_reset_refuses_a_bad_password_and_keeps_its_token(
    client: FlaskClient, token: str, password: str
) -> None:
    assert_error(reset(client, token, password), 400, "validation_error", "newPassword")
    assert reset(client, token).status_code == 204


def test_a_stranger_does_not_learn_the_email_from_a_refusal(
    client: FlaskClient, token: str
) -> None:
    assert_error(reset(client, token[:-1], "alice@example.com"), 401, "auth_invalid")


def test_password_resets_spend_the_budget_of_password_checks(
    app_with: Callable[..., Flask],
) -> None:
    limited = app_with(auth_rate_limit="2/minute").test_client()
    for _ in range(2):
        assert_error(reset(limited, "x"), 401, "auth_invalid")
    assert_error(reset(limited, "x"), 429, "rate_limited")


def test_nothing_is_changed_in_a_session_that_ends_meanwhile(
    alice: User, sql: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = passwords.verify_password

    def verify_slowly(password_hash: str | None, password: str) -> bool:
        sql("DELETE FROM sessions")
        return verify(password_hash, password)

    monkeypatch.setattr(passwords, "verify_password", verify_slowly)
    change = {"currentPassword": PASSWORD, "newPassword": NEW}
    for response in (
        alice.request("PUT", "/auth/password", json=change),
        change_email(alice, "a@b.example"),
        alice.delete("/auth/me", json={"password": PASSWORD}),
    ):
        assert_error(response, 401, "auth_revoked")
    assert sql("SELECT email FROM users") == [(alice.email,)]
