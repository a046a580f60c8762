"""Registered users that send requests through Flask's test client."""

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.support.credentials import PASSWORD
from tests.support.sessions import claims_of


class User:
    """A registered user, whose requests have its access token and no cookies."""

    def __init__(self, app: Flask, email: str, route: str = "register") -> None:
        self._app, self._client = app, app.test_client(use_cookies=False)
        self.email = email
        self.session = self._client.post(
            f"/api/v1/auth/{route}", json={"email": email, "password": PASSWORD}
        )
        assert self.session.status_code in (200, 201), self.session.text
        self.token = self.session.json["accessToken"]
        self.id = self.session.json["user"]["id"]
        self.session_id = claims_of(self.token)["sid"]

    def log_in_again(self) -> "User":
        """Return the same user in another session."""
        return User(self._app, self.email, "login")

    def request(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        """Send a request to a path below /api/v1."""
        headers = {"Authorization": f"Bearer {self.token}", **kwargs.pop("headers", {})}
        return self._client.open(f"/api/v1{path}", method=method, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> TestResponse:
        return self.request("POST", path, json=json, **kwargs)

    def patch(self, path: str, json: Any, **kwargs: Any) -> TestResponse:
        return self.request("PATCH", path, json=json, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> TestResponse:
        return self.request("DELETE", path, **kwargs)

    def task(self, **fields: Any) -> dict[str, Any]:
        """Create a task and return it."""
        response = self.post("/tasks", {"title": "Buy milk", **fields})
        assert response.status_code == 201, response.text
        return response.json

    def titles(self, query: str = "") -> list[str]:
        """Return the titles of the tasks in a list."""
        response = self.get(f"/tasks{query}")
        assert response.status_code == 200, response.text
        return [task["title"] for task in response.json["data"]]
