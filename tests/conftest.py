"""The real thing for every test: a PostgreSQL server, a database for each process, two users."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import start_postgres
from taskflow import create_app
from taskflow.config import Config, load_config
from taskflow.maintenance import apply_schema

SECRET = "a-secret-for-tests-of-more-than-32-bytes"
PASSWORD = "correct horse battery"


def pytest_configure(config: pytest.Config) -> None:
    """Start one server for all processes of the run, unless TEST_DATABASE_URL names one."""
    if os.environ.get("TEST_DATABASE_URL"):
        return
    data = Path(tempfile.mkdtemp(prefix="taskflow-"))
    server = start_postgres(data)
    config.add_cleanup(lambda: shutil.rmtree(data))
    config.add_cleanup(server.stop)  # the last one added is the first one called
    os.environ["TEST_DATABASE_URL"] = server.get_uri()  # the other processes inherit it
    run_sql(server.get_uri(), "ALTER SYSTEM SET fsync = off")
    run_sql(server.get_uri(), "SELECT pg_reload_conf()")


def run_sql(url: str, sql: str, params: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
    """Run a statement behind the service's back, and give its rows."""
    conn = psycopg2.connect(url)
    try:
        conn.autocommit = True
        with conn.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []
    finally:
        conn.close()


@pytest.fixture(scope="session")
def empty_database() -> Iterator[Callable[[], str]]:
    """Make empty databases, dropped at the end, and give their URLs."""
    server = os.environ["TEST_DATABASE_URL"]
    names = []

    def make() -> str:
        name = f"taskflow_test_{uuid.uuid4().hex[:12]}"
        [(version,)] = run_sql(server, "SELECT current_setting('server_version_num')::int")
        unicode = " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'" if version >= 170000 else ""
        run_sql(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'{unicode}")
        names.append(name)
        return urlsplit(server)._replace(path=f"/{name}").geturl()

    yield make
    for name in names:
        run_sql(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def config(empty_database: Callable[[], str]) -> Config:
    """The configuration of the tests, with a database that has the schema."""
    config = load_config(
        production=False,
        environ={
            "DATABASE_URL": empty_database(),
            "JWT_SECRET": SECRET,
            "MAX_TASKS_PER_USER": "200",
            "LOG_LEVEL": "info",
            "RATE_LIMIT": "1000000/second",
            "AUTH_RATE_LIMIT": "1000000/second",
        },
    )
    apply_schema(config)
    return config


@pytest.fixture(scope="session")
def app(config: Config) -> Flask:
    """The application."""
    return create_app(config)


@pytest.fixture(autouse=True)
def _clean_tables(request: pytest.FixtureRequest) -> None:
    if "config" in request.fixturenames:
        config = request.getfixturevalue("config")
        run_sql(config.database_url, "DELETE FROM users")


@pytest.fixture
def sql(config: Config) -> Callable[..., list[tuple[Any, ...]]]:
    """Run SQL in the service's database."""
    return lambda statement, *params: run_sql(config.database_url or "", statement, params)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser: it keeps cookies."""
    return app.test_client()


class User:
    """A registered user, whose requests carry its access token and no cookies."""

    def __init__(self, app: Flask, email: str) -> None:
        self._client = app.test_client(use_cookies=False)
        self.email = email
        self.session = self._client.post(
            "/api/v1/auth/register", json={"email": email, "password": PASSWORD}
        )
        assert self.session.status_code == 201, self.session.text
        self.token = self.session.json["accessToken"]
        self.id = self.session.json["user"]["id"]

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
        """Create a task and give it."""
        response = self.post("/tasks", {"title": "Buy milk", **fields})
        assert response.status_code == 201, response.text
        return response.json

    def titles(self, query: str = "") -> list[str]:
        """Give the titles of the tasks that a listing shows."""
        response = self.get(f"/tasks{query}")
        assert response.status_code == 200, response.text
        return [task["title"] for task in response.json["data"]]


@pytest.fixture
def alice(app: Flask) -> User:
    return User(app, "alice@example.com")


@pytest.fixture
def bob(app: Flask) -> User:
    return User(app, "bob@example.com")


@pytest.fixture
def app_with(config: Config) -> Callable[..., Flask]:
    """Make an application on the same database with other settings."""
    return lambda **changes: create_app(replace(config, **changes))


def assert_error(response: TestResponse, status: int, code: str, *fields: str) -> None:
    """Assert that an answer is this error of the catalog, with details on these fields."""
    assert response.status_code == status, response.text
    error = response.json["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["correlationId"] == response.headers["X-Correlation-ID"]
    assert [detail["field"] for detail in error.get("details", [])] == list(fields)
    if status == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")
