"""A request is accepted with a valid access token, as a bearer or in a cookie."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.assertions import assert_error
from tests.support.credentials import SECRET
from tests.support.sessions import (
    AUTH,
    CREDENTIALS,
    claims_of,
    register,
)
from tests.support.users import User


def test_a_bearer_token_precedes_the_cookie_and_its_scheme_has_any_case(
    client: FlaskClient, alice: User
) -> None:
    register(client)
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {alice.token}"}
        assert client.get(f"{AUTH}/me", headers=headers).json["email"] == alice.email
    assert client.get(f"{AUTH}/me").json["email"] == CREDENTIALS["email"]
    for header in ("Bearer", "Basic YTpi", ""):  # without a token the cookie counts
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
    ids=[
        "wrong key", "wrong algorithm", "wrong issuer", "wrong audience", "wrong type",
        "sub that is not a UUID", "sub that is a number", "no sid", "exp that is a text", "expired",
        "issued in the future",
    ],
)  # fmt: skip
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
    expires = int(time.time()) + 3
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
