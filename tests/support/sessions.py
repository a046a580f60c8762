"""Registrations, refreshes and refresh tokens through Flask's test client."""

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.credentials import PASSWORD

AUTH = "/api/v1/auth"
CREDENTIALS = {"email": "carol@example.com", "password": PASSWORD}


def register(client: FlaskClient, **changes: str) -> TestResponse:
    response = client.post(f"{AUTH}/register", json={**CREDENTIALS, **changes})
    assert response.status_code == 201, response.text
    return response


def refresh(client: FlaskClient, csrf: str) -> TestResponse:
    return client.post(f"{AUTH}/refresh", headers={"X-CSRF-Token": csrf})


def refresh_token_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("refresh_token", path=AUTH)
    assert cookie is not None
    return cookie.value


def use(app: Flask, refresh_token: str) -> TestResponse:
    """Refresh with a token as a bearer, without cookies."""
    return app.test_client(use_cookies=False).post(
        f"{AUTH}/refresh", headers={"Authorization": f"Bearer {refresh_token}"}
    )


def new_token(response: TestResponse) -> str:
    """Give the refresh token that an answer sets."""
    assert response.status_code == 200, response.text
    [cookie] = [c for c in response.headers.getlist("Set-Cookie") if c.startswith("refresh_token=")]
    return cookie.partition("=")[2].partition(";")[0]
