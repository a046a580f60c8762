"""Registration, refresh and tokens, through Flask's test client."""

from typing import Any

import jwt
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.credentials import PASSWORD, SECRET

AUTH = "/api/v1/auth"
CREDENTIALS = {"email": "carol@example.com", "password": PASSWORD}


def register(client: FlaskClient, **changes: str) -> TestResponse:
    """Register a user in a browser."""
    response = client.post(f"{AUTH}/register", json={**CREDENTIALS, **changes})
    assert response.status_code == 201, response.text
    return response


def refresh(client: FlaskClient, csrf: str) -> TestResponse:
    """Refresh the session of a browser, by its cookies."""
    return client.post(f"{AUTH}/refresh", headers={"X-CSRF-Token": csrf})


def refresh_token_of(client: FlaskClient) -> str:
    """Return the refresh token that a browser holds."""
    cookie = client.get_cookie("refresh_token", path=AUTH)
    assert cookie is not None
    return cookie.value


def refresh_with(app: Flask, refresh_token: str) -> TestResponse:
    """Send a refresh with a token as the bearer, without cookies."""
    return app.test_client(use_cookies=False).post(
        f"{AUTH}/refresh", headers={"Authorization": f"Bearer {refresh_token}"}
    )


def new_token(response: TestResponse) -> str:
    """Return the refresh token that an answer sets."""
    assert response.status_code == 200, response.text
    [cookie] = [c for c in response.headers.getlist("Set-Cookie") if c.startswith("refresh_token=")]
    return cookie.partition("=")[2].partition(";")[0]


def token_id_of(refresh_token: str) -> str:
    """Return the `jti` of a refresh token."""
    return claims_of(refresh_token)["jti"]


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token."""
    return jwt.decode(token, SECRET, algorithms=["HS256"], audience="taskflow-api")
