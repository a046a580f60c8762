"""Every route but the public ones needs a token, and every error has the same format."""

import re
from collections.abc import Callable, Iterator
from http import HTTPStatus

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from taskflow.errors import CATALOG
from taskflow.http.routing import Declaration, declaration_of
from tests.support.assertions import assert_error
from tests.support.users import User

PATHS = {"task_id": "01890000-0000-7000-8000-000000000000"}
PATHS["session_id"] = PATHS["task_id"]
PATHS["name"] = "swagger-ui.css"


def routes(app: Flask) -> Iterator[tuple[Declaration, str, str]]:
    """Yield the declaration, each method and a path of every route."""
    for rule in app.url_map.iter_rules():
        with app.test_request_context():
            path = re.sub(r"<(\w+)>", lambda match: PATHS[match[1]], rule.rule)
        for method in sorted(rule.methods - {"OPTIONS"}):
            yield declaration_of(app.view_functions[rule.endpoint]), method, path


def test_every_route_that_is_not_public_needs_a_token(app: Flask, client: FlaskClient) -> None:
    for declaration, method, path in routes(app):
        response = client.open(path, method=method, json={} if method == "POST" else None)
        if not declaration.public:
            assert response.status_code == 401, (method, path)
            if method != "HEAD":
                assert_error(response, 401, "auth_missing")
        response.close()


def test_the_public_routes_are_exactly_the_listed_ones(app: Flask) -> None:
    paths = {path for declaration, _, path in routes(app) if declaration.public}
    assert paths == {
        "/docs",
        "/docs/swagger-ui.css",
        "/health",
        "/health/live",
        "/metrics",
        "/openapi.json",
        "/api/v1/auth/register",
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/api/v1/auth/logout",
        "/api/v1/auth/password/reset",
    }


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1/tasks/", "/health/", "//health", "/api/v1//tasks", "/static/x",
     "/api/v1/auth/me/", "/.env", "/api/v1/tasks/a/b", "/%00", "/%ff"],
)  # fmt: skip
def test_an_unknown_path_is_not_found_without_a_token(client: FlaskClient, path: str) -> None:
    assert_error(client.get(path), 404, "not_found")
    assert_error(client.post(path, json={}), 404, "not_found")


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_the_root_redirects_a_browser_to_the_docs_page(client: FlaskClient) -> None:
    response = client.get("/?ref=mail", headers={"Accept": BROWSER})
    assert (response.status_code, response.headers["Location"]) == (302, "/docs")
    assert client.get("/", headers={"Accept": BROWSER}, follow_redirects=True).status_code == 200


@pytest.mark.parametrize("accept", ["*/*", "", "application/json", "text/html;q=0.5,*/*"])
def test_the_root_is_not_found_by_other_clients(client: FlaskClient, accept: str) -> None:
    assert_error(client.get("/", headers={"Accept": accept}), 404, "not_found")


def test_a_browser_finds_nothing_on_other_unknown_paths(client: FlaskClient) -> None:
    assert_error(client.get("/nowhere", headers={"Accept": BROWSER}), 404, "not_found")
    assert_error(client.post("/", headers={"Accept": BROWSER}), 404, "not_found")


@pytest.mark.parametrize("name", ["page.css", "page.js", "swagger-ui.css", "swagger-ui-bundle.js"])
def test_the_docs_page_has_its_files(client: FlaskClient, name: str) -> None:
    assert f'"/docs/{name}"' in client.get("/docs").text
    with client.get(f"/docs/{name}") as response:
        assert response.status_code == 200
        assert response.mimetype in ("text/javascript", "text/css")


@pytest.mark.parametrize("name", ["page.html", "index.css", "..%2fdocs.py", "swagger-ui.js"])
def test_the_docs_page_has_no_other_files(client: FlaskClient, name: str) -> None:
    assert_error(client.get(f"/docs/{name}"), 404, "not_found")


def test_an_unsupported_method_is_answered_with_the_allowed_ones(client: FlaskClient) -> None:
    for path, method, allowed in (
        ("/health", "POST", {"GET", "HEAD", "OPTIONS"}),
        ("/api/v1/tasks", "DELETE", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("/api/v1/tasks/x", "POST", {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"}),
        ("/api/v1/auth/login", "TRACE", {"OPTIONS", "POST"}),
    ):
        response = client.open(path, method=method)
        assert_error(response, 405, "method_not_allowed")
        assert set(response.headers["Allow"].split(", ")) == allowed


def test_options_needs_no_token(client: FlaskClient) -> None:
    response = client.options("/api/v1/tasks")
    assert (response.status_code, response.data) == (200, b"")
    assert "POST" in response.headers["Allow"]


def test_head_answers_like_get_without_a_body(alice: User) -> None:
    task = alice.task()
    response = alice.request("HEAD", f"/tasks/{task['id']}")
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["ETag"] == '"1"'


def answers(alice: User, client: FlaskClient) -> Iterator[TestResponse]:
    """Yield an answer of every kind."""
    yield client.get("/health")
    yield client.get("/health/live")
    yield client.get("/openapi.json")
    yield client.get("/docs")
    yield client.get("/nowhere")
    yield client.post("/health")
    yield client.options("/api/v1/tasks")
    yield alice.get("/tasks")
    yield alice.post("/tasks", {"title": ""})
    yield alice.request("POST", "/tasks", data="x" * (1024 * 1024 + 1))
    yield alice.request("POST", "/tasks", data="x", content_type="text/plain")
    task = alice.task()
    yield alice.get(f"/tasks/{task['id']}", headers={"If-None-Match": "*"})
    yield alice.delete(f"/tasks/{task['id']}")


@pytest.mark.parametrize("header", ["X-Correlation-ID", "X-Request-ID"])
def test_every_answer_has_a_correlation_id(
    alice: User, client: FlaskClient, app: Flask, header: str
) -> None:
    given = {header: "front-end_1.2"}
    for response in (client.get("/health", headers=given), client.get("/x", headers=given)):
        assert response.headers["X-Correlation-ID"] == "front-end_1.2"
    assert client.get("/x", headers=given).json["error"]["correlationId"] == "front-end_1.2"
    made = [response.headers["X-Correlation-ID"] for response in answers(alice, client)]
    assert all(re.fullmatch(r"[0-9a-f-]{36}", value) for value in made)
    assert len(set(made)) == len(made)


def test_a_correlation_id_precedes_a_request_id_and_an_invalid_one_is_replaced(
    client: FlaskClient,
) -> None:
    for sent, answered in (
        ({"X-Correlation-ID": "mine", "X-Request-ID": "router"}, "mine"),
        ({"X-Correlation-ID": "no spaces", "X-Request-ID": "router"}, "router"),
        ({"X-Correlation-ID": "a" * 128}, "a" * 128),
    ):
        assert client.get("/health/live", headers=sent).headers["X-Correlation-ID"] == answered
    for bad in ("", "a" * 129, "a\tb", 'a"b', "ä", "a,b"):
        headers = {"X-Correlation-ID": bad.encode("latin-1")}
        answered = client.get("/health/live", headers=headers).headers["X-Correlation-ID"]
        assert re.fullmatch(r"[0-9a-f-]{36}", answered)


def test_every_answer_has_the_security_headers(
    alice: User, client: FlaskClient, app_with: Callable[..., Flask]
) -> None:
    for response in answers(alice, client):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        policy = response.headers["Content-Security-Policy"]
        assert "base-uri 'none'; frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy or response.request.path == "/docs"
        assert "Strict-Transport-Security" not in response.headers
        on_tasks = response.request.path.startswith("/api/v1/tasks")
        caching = "private, no-cache" if on_tasks else "no-store"
        assert response.headers["Cache-Control"] == caching
    production = app_with(production=True).test_client()
    for path in ("/health", "/nowhere"):
        assert production.get(path).headers["Strict-Transport-Security"] == "max-age=31536000"


def test_an_unforeseen_error_reveals_nothing_and_is_logged_once(
    alice: User, app: Flask, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("taskflow.tasks.service.list_tasks", fail)
    response = alice.get("/tasks", headers={"X-Correlation-ID": "cid-500"})
    assert_error(response, 500, "internal_error")
    assert response.headers["X-Correlation-ID"] == "cid-500"
    assert "secret" not in response.text
    logged = [record for record in caplog.records if record.exc_info]
    assert len(logged) == 1
    assert "secret detail" in caplog.text


def test_the_error_catalog_matches_the_contract() -> None:
    statuses = {code: int(problem.status) for code, problem in CATALOG.items()}
    assert statuses == {
        "validation_error": 400,
        "invalid_json": 400,
        "auth_missing": 401,
        "auth_invalid": 401,
        "auth_expired": 401,
        "auth_revoked": 401,
        "invalid_credentials": 401,
        "csrf_failed": 403,
        "task_limit_exceeded": 403,
        "not_found": 404,
        "task_not_found": 404,
        "method_not_allowed": 405,
        "email_taken": 409,
        "changes_expired": 410,
        "precondition_failed": 412,
        "request_timeout": 408,
        "payload_too_large": 413,
        "unsupported_media_type": 415,
        "idempotency_key_reused": 422,
        "rate_limited": 429,
        "internal_error": 500,
        "database_unavailable": 503,
        "pool_exhausted": 503,
        "query_timeout": 503,
    }
    assert all(isinstance(problem.status, HTTPStatus) for problem in CATALOG.values())
