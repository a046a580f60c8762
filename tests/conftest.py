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
    config.add_cleanup(server.stop)  # the last one added is the first one called
    os.environ["TEST_DATABASE_URL"] = server.get_uri()  # the other processes inherit it
    run_sql(server.get_uri(), "ALTER SYSTEM SET fsync = off")
    run_sql(server.get_uri(), "SELECT pg_reload_conf()")


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
    apply_migrations(config)
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
