"""Fixtures of all tests: a PostgreSQL server, a database for each process, and two users."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import start_postgres
from taskflow import create_app
from taskflow.config import Config, load_config
from taskflow.database.migrations import apply_migrations
from tests.support.credentials import SECRET
from tests.support.database import run_sql
from tests.support.users import User


def pytest_configure(config: pytest.Config) -> None:
    """Start one server for all processes of the run, unless TEST_DATABASE_URL names one."""
    if os.environ.get("TEST_DATABASE_URL"):
        return
    data = Path(tempfile.mkdtemp(prefix="taskflow-"))
    server = start_postgres(data)
    config.add_cleanup(lambda: shutil.rmtree(data))
    config.add_cleanup(server.stop)  # added last, so that it is called first
    os.environ["TEST_DATABASE_URL"] = server.get_uri()  # inherited by the other processes
    run_sql(server.get_uri(), "ALTER SYSTEM SET fsync = off")
    run_sql(server.get_uri(), "SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def empty_database() -> Iterator[Callable[[], str]]:
    """Return a function that creates an empty database and returns its URL."""
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
    """Return the configuration of the tests, with a database that has the schema."""
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
    apply_migrations(config)
    return config


@pytest.fixture(scope="session")
def app(config: Config) -> Flask:
    """Return the application."""
    return create_app(config)


@pytest.fixture(autouse=True)
def _clean_tables(request: pytest.FixtureRequest) -> Iterator[None]:
    """Delete all rows after a test, so that the fixtures of the next module find no rows."""
    yield
    if "config" in request.fixturenames:
        config = request.getfixturevalue("config")
        run_sql(config.database_url, "DELETE FROM users")


@pytest.fixture
def sql(config: Config) -> Callable[..., list[tuple[Any, ...]]]:
    """Return a function that runs SQL in the service's database."""
    return lambda statement, *params: run_sql(config.database_url or "", statement, params)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client that keeps cookies, as a browser does."""
    return app.test_client()


@pytest.fixture
def alice(app: Flask) -> User:
    """Return a registered user."""
    return User(app, "alice@example.com")


@pytest.fixture
def bob(app: Flask) -> User:
    """Return another registered user."""
    return User(app, "bob@example.com")


@pytest.fixture
def app_with(config: Config) -> Callable[..., Flask]:
    """Return a function that creates an application with other settings on the same database."""
    return lambda **changes: create_app(replace(config, **changes))
