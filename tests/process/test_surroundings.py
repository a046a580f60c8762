"""The surroundings of the service change nothing that its clients see."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask

from taskflow import create_app
from taskflow.config import Config
from taskflow.database import Database
from taskflow.database import connection as connections
from taskflow.database.migrations import apply_migrations
from taskflow.errors import ServiceError
from tests.support.assertions import assert_error
from tests.support.database import KILL, run_sql
from tests.support.service import procfile, production_env, run, serving
from tests.support.startup_proxy import Startup, StartupProxy

TEXT = "Größe · é · 日本 · \N{ROCKET}"
RDS_PROXY = "Feature not supported: RDS Proxy currently doesn't support command-line options."
PGBOUNCER = "unsupported startup parameter: options"
SETTINGS = "SELECT current_setting('TimeZone'), current_setting('statement_timeout')"


def use(call: Callable[..., tuple[int, Any, Any]]) -> dict[str, Any]:
    """Register a user, create and search a task, and return it."""
    user = {"email": f"{os.urandom(4).hex()}@example.com", "password": "correct horse battery"}
    status, session, _ = call("POST", "/api/v1/auth/register", user)
    assert status == 201, session
    bearer = {"Authorization": f"Bearer {session['accessToken']}"}
    task = {"title": TEXT, "tags": ["é"], "dueDate": "2030-01-01T00:00:00+05:45"}
    status, created, _ = call("POST", "/api/v1/tasks", task, bearer)
    assert status == 201, created
    status, page, _ = call("GET", "/api/v1/tasks?q=gr%C3%B6&tag=%C3%A9&sort=dueDate", None, bearer)
    assert (status, page["data"]) == (200, [created])
    assert session["user"]["createdAt"].endswith("+00:00")
    return created


@pytest.mark.parametrize(
    "environ",
    [
        {
            "PGTZ": "Asia/Tokyo",
            "PGDATESTYLE": "German",
            "PGCLIENTENCODING": "LATIN1",
            "PGOPTIONS": "-c TimeZone=Asia/Tokyo -c statement_timeout=1",
            "TZ": "Asia/Tokyo",
            "LC_ALL": "POSIX",
            "PYTHONIOENCODING": "ascii",
            "PYTHONUTF8": "0",
        },
        {"PGTZ": "Nowhere/Nothing", "PGGEQO": "nonsense", "PGOPTIONS": "--nonsense"},
    ],
    ids=["other settings", "invalid settings"],
)
def test_the_environment_changes_nothing_on_the_wire(
    config: Config, environ: dict[str, str]
) -> None:
    url = config.database_url or ""
    assert run(procfile("release"), production_env(url, **environ)).returncode == 0
    with serving(url, **environ) as service:
        created = use(service.request)
    assert created["title"] == TEXT
    assert created["dueDate"] == "2029-12-31T18:15:00.000000+00:00"
    assert created["createdAt"].endswith("+00:00")


@pytest.mark.parametrize(
    "parameters",
    ["client_encoding=LATIN1",
     "options=-c%20TimeZone%3DAsia/Tokyo%20-c%20statement_timeout%3D1",
     "options=-c%20DateStyle%3DGerman%20-c%20IntervalStyle%3Dpostgres",
     "options=-c%20standard_conforming_strings%3Doff",
     "application_name=x&connect_timeout=3"],
)  # fmt: skip
def test_the_parameters_of_the_url_change_nothing_on_the_wire(
    config: Config, parameters: str
) -> None:
    url = config.database_url or ""
    url += f"{'&' if '?' in url else '?'}{parameters}"
    created = use(caller(create_app(replace(config, database_url=url))))
    assert created["title"] == TEXT
    assert created["dueDate"] == "2029-12-31T18:15:00.000000+00:00"


@pytest.mark.parametrize(
    "default",
    ["TimeZone = 'Asia/Kathmandu'", "DateStyle = 'SQL, DMY'", "IntervalStyle = 'iso_8601'",
     "standard_conforming_strings = off", "default_transaction_isolation = 'serializable'",
     "bytea_output = 'escape'", "statement_timeout = 1", "client_encoding = 'LATIN1'",
     "lc_messages = 'C'", "extra_float_digits = -15", "quote_all_identifiers = on"],
)  # fmt: skip
def test_defaults_of_the_database_change_nothing_on_the_wire(
    empty_database: Callable[[], str], config: Config, default: str
) -> None:
    url = empty_database()
    run_sql(url, f"ALTER DATABASE {urlsplit(url).path[1:]} SET {default}")
    settings = replace(config, database_url=url)
    apply_migrations(settings)
    created = use(caller(create_app(settings)))
    assert created["dueDate"] == "2029-12-31T18:15:00.000000+00:00"
    assert run(procfile("release"), production_env(url)).returncode == 0


def caller(app: Flask) -> Callable[..., tuple[int, Any, Any]]:
    """Return a function that sends requests as a `Service` does."""

    def call(method: str, path: str, body: Any = None, headers: Any = None) -> tuple[int, Any, Any]:
        client = app.test_client(use_cookies=False)
        response = client.open(path, method=method, json=body, headers=headers)
        return response.status_code, response.json, response.headers

    return call


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_is_not_utf8_is_refused_by_name(
    empty_database: Callable[[], str], config: Config, encoding: str, caplog: Any
) -> None:
    server, url = os.environ["TEST_DATABASE_URL"], empty_database()
    name = urlsplit(url).path[1:]
    run_sql(server, f"DROP DATABASE {name}")
    run_sql(
        server,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        " LOCALE_PROVIDER libc",
    )
    reason = f"database {name} is encoded in {encoding}, and TaskFlow needs UTF8"
    done = run(procfile("release"), production_env(url))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"taskflow: release failed: {reason}\n"
    client = create_app(replace(config, database_url=url)).test_client()
    response = client.get("/health")
    assert (response.status_code, response.json["status"]) == (503, "unhealthy")
    [record] = [r for r in caplog.records if r.name == "taskflow.health"]
    assert (record.levelname, record.getMessage()) == ("ERROR", f"Unhealthy: {reason}")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"netloc": "nobody@"}, 'role "nobody" does not exist'),
        ({"path": "/nowhere"}, 'database "nowhere" does not exist'),
    ],
    ids=["no such role", "no such database"],
)
def test_a_wrong_setting_is_logged_as_an_error_and_not_as_an_outage(
    config: Config, change: dict[str, str], text: str, caplog: Any
) -> None:
    url = urlsplit(config.database_url or "")._replace(**change).geturl()
    client = create_app(replace(config, database_url=url)).test_client()
    credentials = {"email": "a@example.com", "password": "correct horse battery"}
    response = client.post("/api/v1/auth/login", json=credentials)
    assert_error(response, 503, "database_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    [record] = [r for r in caplog.records if r.name == "taskflow.errors"]
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("The database refuses the service: ")
    assert text in record.getMessage()


@contextmanager
def proxy(url: str, refusal: Callable[[Startup], str | None]) -> Iterator[StartupProxy]:
    """Run a proxy on a new port, about which this process has not learnt anything yet."""
    found = StartupProxy(url, refusal)
    yield found
    found.close()


@pytest.mark.parametrize(
    "text",
    [RDS_PROXY, PGBOUNCER, "no", "startup option not allowed: «options»",
     "unrecognized configuration parameter", "Optionen werden nicht unterstützt"],
)  # fmt: skip
def test_a_server_that_refuses_start_up_options_is_served_without_them(
    config: Config, text: str
) -> None:
    def refusal(startup: Startup) -> str | None:
        return text if "options" in startup else None

    with proxy(config.database_url or "", refusal) as found:
        settings = replace(config, database_url=found.url, db_pool_max=3)
        assert run(procfile("release"), production_env(found.url)).returncode == 0
        del found.startups[:]
        use(caller(create_app(settings)))
        # The service tries options twice, since a server that starts up may refuse anything once.
        assert ["options" in startup for startup in found.startups] == [True, False, True]
        database = Database(settings)
        assert database.query(SETTINGS, {}) == [("UTC", "5s")]
        run_sql(config.database_url or "", KILL)
        assert database.query(SETTINGS, {}) == [("UTC", "5s")]
        assert not any("options" in startup for startup in found.startups[3:])


def test_a_server_that_ignores_start_up_options_is_noticed(config: Config) -> None:
    def ignore(startup: Startup) -> None:
        startup.pop("options", None)

    with proxy(config.database_url or "", ignore) as found:
        database = Database(replace(config, database_url=found.url))
        assert database.query(SETTINGS, {}) == [("UTC", "5s")]
        assert len(found.startups) == 2
        run_sql(config.database_url or "", KILL)
        assert database.query(SETTINGS, {}) == [("UTC", "5s")]
        assert len(found.startups) == 3


def test_a_refusal_for_another_reason_does_not_give_up_the_options(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = ["password authentication failed for user", "the database system is starting up"] * 2

    def refusal(_startup: Startup) -> str | None:
        return refusals.pop(0) if refusals else None

    monkeypatch.setattr("taskflow.database.pool.FAILED_SECONDS", 0)
    with proxy(config.database_url or "", refusal) as found:
        database = Database(replace(config, database_url=found.url))
        with pytest.raises(ServiceError, match="database_unavailable"):
            database.execute("SELECT 1", {})
        with pytest.raises(ServiceError, match="database_unavailable"):
            database.execute("SELECT 1", {})
        refusals = ["the database system is starting up"]  # over by the second attempt
        assert database.query(SETTINGS, {}) == [("UTC", "5s")]
        [*_, last] = found.startups
        assert "options" in last
        assert not any(found.url.rpartition(":")[2] in key for key in connections._WITHOUT_OPTIONS)


def test_a_network_error_is_not_tried_again_without_options(config: Config) -> None:
    with proxy(config.database_url or "", lambda _startup: None) as found:
        url = found.url
    database = Database(replace(config, database_url=url))
    with pytest.raises(ServiceError, match="database_unavailable"):
        database.execute("SELECT 1", {})
    assert found.startups == []


def test_an_outage_is_logged_as_a_warning(config: Config, caplog: Any) -> None:
    text = "the database system is starting up"
    with proxy(config.database_url or "", lambda _startup: text) as found:
        client = create_app(replace(config, database_url=found.url)).test_client()
        credentials = {"email": "a@example.com", "password": "correct horse battery"}
        with caplog.at_level(logging.WARNING):
            assert client.post("/api/v1/auth/login", json=credentials).status_code == 503
    [record] = [r for r in caplog.records if r.name == "taskflow.errors"]
    assert record.levelname == "WARNING"
