"""The OpenAPI document is valid and complete, and the answers match it."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from taskflow.errors import CATALOG
from taskflow.http.routing import declaration_of
from taskflow.tasks.schemas import SORTS
from tests.support.credentials import PASSWORD
from tests.support.openapi import matches, operations
from tests.support.users import User


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    return app.test_client().get("/openapi.json").json


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_the_document_has_exactly_the_routes_of_the_application(
    document: dict[str, Any], app: Flask
) -> None:
    documented = {(path, method.upper()) for path, method, _ in operations(document)}
    routed = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "api-docs.openapi_json" and not rule.endpoint.startswith("docs.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert documented == routed


def test_every_operation_documents_its_purpose_and_its_errors(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        assert {"400", "500"} <= set(operation["responses"]), (path, method)
        for status, response in operation["responses"].items():
            assert "X-Correlation-ID" in response["headers"], (path, method, status)
            if int(status) >= 400 and path != "/health":
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorResponse"}
        if operation.get("security") != []:
            assert "401" in operation["responses"]
            assert ("403" in operation["responses"]) == (method != "get")


def test_the_document_lists_every_error_code(document: dict[str, Any]) -> None:
    codes = document["components"]["schemas"]["ErrorBody"]["properties"]["code"]["enum"]
    assert set(codes) == set(CATALOG)
    met = set()
    for path, _, operation in operations(document):
        for status, response in operation["responses"].items():
            examples = response.get("content", {}).get("application/json", {}).get("examples", {})
            for code, example in examples.items():
                met.add(code)
                assert CATALOG[code].status == int(status), path
                assert example["value"]["error"]["code"] == code
    assert met == set(CATALOG) - {"method_not_allowed"}


def test_the_document_declares_which_operations_need_a_token(
    document: dict[str, Any], app: Flask
) -> None:
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearerAuth"]["scheme"] == "bearer"
    assert schemes["cookieAuth"] == {"type": "apiKey", "in": "cookie", "name": "access_token"}
    open_to_all = {
        re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if declaration_of(app.view_functions[rule.endpoint]).public
    }
    tokens_needed = {"/api/v1/auth/refresh", "/api/v1/auth/logout", "/metrics"}
    for path, _, operation in operations(document):
        assert (operation.get("security") == []) == (path in open_to_all - tokens_needed), path


def test_the_document_describes_parameters_headers_and_bodies(document: dict[str, Any]) -> None:
    def parameters(path: str, method: str) -> dict[str, Any]:
        item = document["paths"][path]
        found = [*item.get("parameters", []), *item[method].get("parameters", [])]
        return {parameter["name"]: parameter for parameter in found}

    listing = parameters("/api/v1/tasks", "get")
    assert {"limit", "cursor", "sort", "status", "priority", "tag", "dueBefore", "dueAfter",
            "q"} <= set(listing)  # fmt: skip
    assert listing["limit"]["schema"] == {
        "type": "integer", "default": 20, "minimum": 1, "maximum": 100, "examples": [50],
    }  # fmt: skip
    assert set(listing["sort"]["schema"]["enum"]) == set(SORTS)
    assert listing["status"]["explode"] is True
    task = "/api/v1/tasks/{task_id}"
    assert "Idempotency-Key" in parameters("/api/v1/tasks", "post")
    assert "If-None-Match" in parameters(task, "get")
    for method in ("put", "patch", "delete"):
        assert {"If-Match", "X-CSRF-Token"} <= set(parameters(task, method))
    assert parameters(task, "get")["task_id"]["schema"]["format"] == "uuid"
    for method in ("put", "patch"):
        types = document["paths"][task][method]["requestBody"]["content"]
        assert set(types) == {"application/json", "application/merge-patch+json"}
        for content in types.values():
            assert content["schema"]["minProperties"] == 1
    created = document["paths"]["/api/v1/tasks"]["post"]["responses"]["201"]
    assert {"ETag", "Location", "Idempotency-Replayed"} <= set(created["headers"])
    creation = document["components"]["schemas"]["TaskCreation"]
    assert creation["required"] == ["title"]
    assert creation["additionalProperties"] is False
    assert creation["properties"]["title"]["maxLength"] == 200


def test_answers_match_the_document(
    document: dict[str, Any], alice: User, client: FlaskClient
) -> None:
    tasks, task = "/api/v1/tasks", "/api/v1/tasks/{task_id}"
    made = alice.post("/tasks", {"title": "x", "tags": ["a"], "dueDate": "2026-12-01"})
    one = f"/tasks/{made.json['id']}"
    matches(document, tasks, made)
    matches(document, tasks, alice.post("/tasks", {"title": ""}))
    matches(document, tasks, alice.get("/tasks"))
    matches(document, tasks, alice.get("/tasks?limit=0"))
    matches(document, tasks, client.get(tasks))
    matches(document, task, alice.get(one))
    matches(document, task, alice.get("/tasks/x"))
    matches(document, task, alice.get(one, headers={"If-None-Match": "*"}))
    matches(document, task, alice.patch(one, {"status": "completed"}))
    matches(document, task, alice.patch(one, {"title": "y"}, headers={"If-Match": '"1"'}))
    matches(document, task, alice.delete(one))
    auth = "/api/v1/auth"
    matches(document, f"{auth}/register", alice.session)
    credentials = {"email": alice.email, "password": PASSWORD}
    matches(document, f"{auth}/register", client.post(f"{auth}/register", json=credentials))
    login = client.post(f"{auth}/login", json=credentials)
    matches(document, f"{auth}/login", login)
    csrf = {"X-CSRF-Token": login.json["csrfToken"]}
    matches(document, f"{auth}/refresh", client.post(f"{auth}/refresh"))
    matches(document, f"{auth}/refresh", client.post(f"{auth}/refresh", headers=csrf))
    matches(document, f"{auth}/logout", client.post(f"{auth}/logout", headers=csrf))
    matches(document, f"{auth}/me", alice.get("/auth/me"))
    matches(document, f"{auth}/sessions", alice.get("/auth/sessions"))
    matches(document, "/health", client.get("/health"))
    matches(document, "/health/live", client.get("/health/live"))
