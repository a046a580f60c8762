"""Every request is logged as one JSON line that contains no secret."""

import json
import logging
import re
import select
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pythonjsonlogger.json import JsonFormatter

from taskflow.logs import CorrelationIdFilter, json_formatter, log_config
from taskflow.output import MAX_LINE, StdoutHandler
from taskflow.shortcuts import log_request
from tests.support.credentials import PASSWORD
from tests.support.users import User


def configured(handler: StdoutHandler) -> StdoutHandler:
    """Set up a handler as the service does."""
    handler.setFormatter(json_formatter())
    handler.addFilter(CorrelationIdFilter())
    return handler


def stdout_handler() -> StdoutHandler:
    """Return a handler like the service's."""
    return configured(StdoutHandler())


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


def test_the_shortcut_writes_the_line_that_logging_would(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("taskflow.request")  # unregistered, so pytest adds no handler to it
    logger.addHandler(stdout_handler())
    fields = {"path": "/\u2028\x85é" + "x" * MAX_LINE, "userId": None, "correlationId": "cid-1"}
    log_request(logger, logging.INFO, "GET /%s 200", fields)
    logger.addHandler(logging.NullHandler())
    log_request(logger, logging.INFO, "GET /%s 200", fields)
    short, long = (
        re.subn(r'"timestamp": "[-0-9]+T[:.0-9]+\+00:00"', "", line)
        for line in Lines(capfd).raw.splitlines()
    )
    assert short == long
    assert short[1] == 1


class WritingHandler(StdoutHandler):
    """A handler like the service's that takes lines, and no records."""

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        raise AssertionError(record)


def logger_below(handler: logging.Handler) -> logging.Logger:
    """Return a logger whose parent has a handler; pytest adds none, because it knows neither."""
    logger = logging.Logger("taskflow.request")
    logger.parent = logging.Logger("root")
    logger.parent.addHandler(handler)
    return logger


def test_the_shortcut_is_taken_if_only_the_root_has_a_handler(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logger = logger_below(configured(WritingHandler()))
    log_request(logger, logging.INFO, "GET /x 200", {})
    assert [line["message"] for line in Lines(capfd).lines] == ["GET /x 200"]


@pytest.mark.parametrize("change", ["level", "filter", "formatter", "logger", "below"])
def test_the_shortcut_is_not_taken_if_logging_is_configured_otherwise(change: str) -> None:
    handler = configured(WritingHandler())
    logger = logger_below(handler)
    match change:
        case "level":
            handler.setLevel(logging.INFO)
        case "filter":
            handler.addFilter(lambda _record: True)
        case "formatter":
            handler.setFormatter(JsonFormatter())
        case "logger":
            logger.addFilter(lambda _record: True)
        case "below":
            logger.addHandler(logging.NullHandler())
    with pytest.raises(AssertionError):
        log_request(logger, logging.INFO, "GET /x 200", {})


def test_the_shortcut_respects_a_logger_that_does_not_propagate(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logger = logger_below(configured(WritingHandler()))
    logger.propagate = False
    log_request(logger, logging.INFO, "GET /x 200", {})
    assert Lines(capfd).raw == ""


def test_a_line_waits_until_the_handler_has_written_another(
    capfd: pytest.CaptureFixture[str],
) -> None:
    handler = stdout_handler()
    logger = logger_below(handler)
    with ThreadPoolExecutor(1) as pool:
        handler.acquire()
        try:
            written = pool.submit(log_request, logger, logging.INFO, "GET /x 200", {})
            time.sleep(0.1)
            assert not written.done()
        finally:
            handler.release()
    assert len(Lines(capfd).lines) == 1


def test_a_handler_of_another_kind_gets_a_record(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.Logger("taskflow.request")
    logger.addHandler(caplog.handler)
    log_request(logger, logging.INFO, "GET /x 200", {"path": "/x"})
    [record] = caplog.records
    assert (record.message, record.path) == ("GET /x 200", "/x")  # type: ignore[attr-defined]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.ERROR])
def test_the_shortcut_respects_the_level(level: int, capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("taskflow.request", logging.INFO)
    logger.addHandler(stdout_handler())
    log_request(logger, level, "GET /x 500", {"correlationId": None})
    assert [line["level"] for line in Lines(capfd).lines] == ["ERROR"] * (level == logging.ERROR)


def test_the_line_of_an_error_names_its_code(alice: User, lines: Lines) -> None:
    alice.get("/tasks/x")
    alice.get("/tasks")
    refused, served = lines.requests()[-2:]
    assert refused["errorCode"] == "task_not_found"
    assert "errorCode" not in served


@pytest.mark.parametrize(
    ("character", "kept"),
    [("a", 1024), ("é", 1024), ("日", 1024), ("\N{ROCKET}", 682), ("\x01", 400), ('"', 1024),
     ("\u2028", 400)],
    ids=["ASCII", "Latin", "Han", "emoji", "control characters", "quotes", "line separators"],
)  # fmt: skip
def test_a_long_path_is_cut_and_its_line_fits_into_one_write(
    client: FlaskClient, lines: Lines, character: str, kept: int
) -> None:
    path = "/" + character * 2000
    client.get(path)
    [line] = lines.requests()
    assert kept <= len(line["path"]) <= 1024
    assert path.startswith(line["path"])
    assert line["status"] == 404
    assert len(lines.raw.encode()) <= select.PIPE_BUF


def test_a_long_stack_is_cut_in_its_middle(app: Flask, lines: Lines) -> None:
    def fail(depth: int) -> None:
        if depth:
            fail(depth - 1)
        raise ValueError("the end of a long story" + "!" * 5000)

    try:
        fail(50)
    except ValueError:
        logging.getLogger("taskflow.test").exception("failed")
    [line] = lines.lines
    assert line["exc_info"].startswith("Traceback (most recent call last)")
    assert line["exc_info"].endswith("!")
    assert len(lines.raw.encode()) <= select.PIPE_BUF


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
    logger.warning("\u2028 \x85 \x9b é")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    assert lines.lines[0]["message"] == "a\nb \ud800 \x00"
    assert lines.lines[1]["message"] == "\u2028 \x85 \x9b é"
    assert "\x9b" not in lines.raw  # begins a terminal's control sequences
    assert re.search(r"Traceback .*two\nlines", lines.lines[2]["exc_info"], re.DOTALL)
    assert lines.lines[2]["correlationId"] is None


@pytest.mark.parametrize("level", ["debug", "error"])
def test_gunicorn_logs_at_the_configured_level(level: str) -> None:
    config = log_config(level)
    assert config["root"]["level"] == level.upper()
    assert config["loggers"]["gunicorn.error"] == {"level": level.upper(), "propagate": True}
