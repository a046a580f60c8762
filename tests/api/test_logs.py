"""Every request is logged as one JSON line, which has no secret in it."""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from taskflow.logs import CorrelationIdFilter, json_formatter, log_config
from tests.support.credentials import PASSWORD
from tests.support.users import User


class StdoutHandler(logging.StreamHandler[Any]):
    """Writes to what stdout is at the moment, because pytest replaces it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stdout


def stdout_handler() -> logging.Handler:
    """Return a handler like the service's."""
    handler = StdoutHandler()
    handler.setFormatter(json_formatter())
    handler.addFilter(CorrelationIdFilter())
    return handler


class Lines:
    """The lines that are written to stdout."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self._raw = ""

    @property
    def raw(self) -> str:
        self._raw += self._capfd.readouterr().out
        return self._raw

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw.splitlines()]

    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["logger"] == "taskflow.request"]


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    handler = stdout_handler()
    logger = logging.getLogger("taskflow")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    yield Lines(capfd)
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_request_is_logged_as_one_line(alice: User, lines: Lines) -> None:
    before = datetime.now(UTC)
    task = alice.task()
    alice.get(f"/tasks/{task['id']}", headers={"X-Correlation-ID": "cid-1"})
    [_, line] = lines.lines
    took = line.pop("durationMs")
    assert 0 < took < 1000
    written = datetime.fromisoformat(line.pop("timestamp"))
    assert before <= written <= datetime.now(UTC)
    assert line == {
        "level": "INFO",
        "logger": "taskflow.request",
        "message": f"GET /api/v1/tasks/{task['id']} 200",
        "service": "taskflow",
        "correlationId": "cid-1",
        "method": "GET",
        "path": f"/api/v1/tasks/{task['id']}",
        "route": "/api/v1/tasks/<task_id>",
        "status": 200,
        "userId": alice.id,
        "remoteAddr": "127.0.0.1",
    }


def test_a_request_succeeds_when_its_line_cannot_be_written(
    alice: User, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = open("/dev/full", "w", buffering=1)  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", full)
    assert alice.get("/tasks").status_code == 200
    with contextlib.suppress(OSError):
        full.close()
    assert alice.get("/tasks").status_code == 200  # the stream is closed now


def test_the_query_string_is_not_logged(alice: User, lines: Lines) -> None:
    alice.get("/tasks?q=secret")
    assert lines.requests()[-1]["path"] == "/api/v1/tasks"
    assert "secret" not in lines.raw


def test_requests_to_unknown_routes_are_logged(client: FlaskClient, lines: Lines) -> None:
    client.get("/nowhere")
    client.post("/health")
    for line, status, route in zip(lines.requests(), (404, 405), (None, None), strict=True):
        assert (line["status"], line["route"], line["userId"]) == (status, route, None)


def test_a_successful_health_check_is_logged_at_debug_level_only(
    client: FlaskClient, lines: Lines
) -> None:
    client.get("/health")
    client.get("/health/live")
    assert lines.lines == []
    logging.getLogger("taskflow").setLevel(logging.DEBUG)
    client.get("/health")
    assert lines.requests()[0]["level"] == "DEBUG"


def test_session_requests_are_logged_with_their_user(client: FlaskClient, lines: Lines) -> None:
    credentials = {"email": "eve@example.com", "password": PASSWORD}
    user = client.post("/api/v1/auth/register", json=credentials).json["user"]
    csrf = client.post("/api/v1/auth/login", json=credentials).json["csrfToken"]
    client.post("/api/v1/auth/refresh", headers={"X-CSRF-Token": csrf})
    client.post("/api/v1/auth/logout", headers={"X-CSRF-Token": csrf})
    assert [line["userId"] for line in lines.requests()] == [user["id"]] * 4


def test_nothing_secret_is_logged(client: FlaskClient, lines: Lines, app: Flask) -> None:
    logging.getLogger("taskflow").setLevel(logging.DEBUG)
    credentials = {"email": "eve@example.com", "password": PASSWORD}
    session = client.post("/api/v1/auth/register", json=credentials)
    csrf = session.json["csrfToken"]
    headers = {"X-CSRF-Token": csrf}
    client.post("/api/v1/auth/login", json={**credentials, "password": "guess me"})
    client.post("/api/v1/tasks", json={"title": "my secret title"}, headers=headers)
    client.post("/api/v1/tasks", json={"title": 1, "my secret field": 1}, headers=headers)
    client.get("/api/v1/auth/me", headers={"Authorization": "Bearer my.secret.token"})
    client.post("/api/v1/auth/refresh", headers=headers)
    assert len(lines.requests()) == 6
    cookies = [client.get_cookie("access_token").value, csrf, session.json["accessToken"]]
    for secret in (PASSWORD, "guess me", "my secret", "my.secret.token", *cookies):
        assert secret not in lines.raw


def test_a_line_is_valid_json_whatever_it_contains(app: Flask, lines: Lines) -> None:
    logger = logging.getLogger("taskflow.test")
    logger.propagate = False  # pytest can't keep a surrogate
    logger.addHandler(stdout_handler())
    logger.warning("a\nb \ud800 %s", "\x00", extra={"when": datetime.now(UTC), "odd": 1j})
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    assert lines.lines[0]["message"] == "a\nb \ud800 \x00"
    assert re.search(r"Traceback .*two\nlines", lines.lines[1]["exc_info"], re.DOTALL)
    assert lines.lines[1]["correlationId"] is None


@pytest.mark.parametrize("level", ["debug", "error"])
def test_gunicorn_logs_at_the_configured_level(level: str) -> None:
    config = log_config(level)
    assert config["root"]["level"] == level.upper()
    assert config["loggers"]["gunicorn.error"] == {"level": level.upper(), "propagate": True}
