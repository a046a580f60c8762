"""The OpenAPI document is valid and complete, and the answers match it."""

import os
import re
import subprocess
import sys
from typing import Any

import jsonschema
import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from taskflow.errors import CATALOG
from taskflow.http.answers import compact_json
from taskflow.http.routing import declaration_of
from taskflow.tasks.schemas import PRIORITIES, SORTS, STATUSES
from tests.support.credentials import PASSWORD
from tests.support.openapi import follow, matches, operations, parameters_of, validate
from tests.support.service import ROOT
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
        for status, described in operation["responses"].items():
            response = follow(document, described)
            assert "X-Correlation-ID" in response["headers"], (path, method, status)
            if int(status) >= 400 and (path, status) != ("/health", "503"):
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorResponse"}
        if operation.get("security") != []:
            assert "401" in operation["responses"]
            assert ("403" in operation["responses"]) == (method != "get")


def test_every_operation_has_a_name_and_a_summary_of_its_own(document: dict[str, Any]) -> None:
    names = {operation["operationId"] for _, _, operation in operations(document)}
    assert names == {
        "register", "login", "refresh", "logout", "getAccount", "deleteAccount", "changePassword",
        "resetPassword", "changeEmail",
        "listSessions", "revokeSession", "listTasks", "createTask", "getTask", "replaceTask",
        "updateTask", "deleteTask", "getHealth", "getLiveness", "getMetrics",
        "writeBatch", "listChanges", "getSummary", "restoreTask",
    }  # fmt: skip
    summaries = [operation["summary"] for _, _, operation in operations(document)]
    assert len(names) == len(set(summaries)) == len(summaries)


def test_the_document_lists_every_error_code(document: dict[str, Any]) -> None:
    codes = document["components"]["schemas"]["ErrorCode"]
    assert codes["enum"] == list(CATALOG)
    for code, problem in CATALOG.items():
        assert f"| `{code}` | {problem.status.value} | {problem.message} |" in codes["description"]
    met = set()
    for path, method, operation in operations(document):
        listed = operation["x-error-codes"]
        met.update(listed)
        statuses = {str(CATALOG[code].status.value) for code in listed}
        for status, described in operation["responses"].items():
            content = follow(document, described).get("content", {}).get("application/json", {})
            examples = content.get("examples", {})
            if status in statuses:
                expected = {code for code in CATALOG if CATALOG[code].status == int(status)}
                assert set(examples) == expected, (path, method)
                statuses.remove(status)
            else:
                assert examples == {}, (path, method, status)
            for code, example in examples.items():
                assert example["value"]["error"]["code"] == code
        assert statuses == set(), (path, method)
    assert met == set(CATALOG) - {"method_not_allowed"}


def test_the_shared_parts_of_operations_are_components(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert "$ref" in parameter or parameter["in"] == "query", (path, method)
        for status, response in operation["responses"].items():
            is_error = int(status) >= 400 and (path, status) != ("/health", "503")
            assert ("$ref" in response) == is_error, (path, method, status)
            headers = response.get("headers", {}).values()
            assert all(set(header) == {"$ref"} for header in headers), (path, method, status)
    assert len(compact_json(document)) < 100_000


def test_enums_are_named_components(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    enums = {name for name, schema in schemas.items() if "enum" in schema}
    assert enums == {"ErrorCode", "HealthStatus", "TaskPriority", "TaskSort", "TaskStatus"}
    assert "PaginationMetadata" not in schemas
    for name in enums:  # nowhere else
        assert compact_json(document).count(compact_json(schemas[name]["enum"])) == 1


def test_the_document_names_its_server_license_contact_and_tags(
    document: dict[str, Any],
) -> None:
    assert document["servers"][0]["url"] == "/"
    assert document["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    assert document["info"]["contact"] == {"name": "the TaskFlow authors"}
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert set(tags) == {"auth", "tasks", "health", "metrics"}
    assert all(tags.values())


def test_the_document_is_the_same_in_every_process(app: Flask) -> None:
    code = (
        "from taskflow import create_app; from taskflow.config import load_config;"
        "app = create_app(load_config(production=False, environ={}));"
        "print(app.test_client().get('/openapi.json').text, end='')"
    )
    # The order of a set's elements differs between Python processes.
    env = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == app.test_client().get("/openapi.json").text


# All characters that Python or ECMAScript treats as white space, and characters that look like it.
SPACE = "\t\n\v\f\r \x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
OTHERS = ["", "\0", "\u180e", "\u200b", "\ufeff", "\N{ROCKET}"]
TITLES = {
    "alone": "{}",
    "thrice": "{0}{0}{0}",
    "before": "{}x",
    "after": "x{}",
    "within": "x{}y",
    "around": "{0}x{0}",
    "the 200th": 199 * "x" + "{}",
    "the 201st": 200 * "x" + "{}",
    "the 202nd": 201 * "x" + "{}",
    "before 200": "{}" + 200 * "x",
    "in the middle of 200": 100 * "x" + "{}" + 99 * "x",
    "in the middle of 201": 100 * "x" + "{}" + 100 * "x",
}


@pytest.mark.parametrize("form", TITLES.values(), ids=TITLES.keys())
def test_the_document_and_the_service_agree_about_titles(
    document: dict[str, Any], alice: User, form: str
) -> None:
    for character in [*SPACE, *OTHERS]:
        body = {"title": form.format(character)}
        try:
            validate(document, body, "components", "schemas", "TaskCreation")
            expected = 201
        except jsonschema.ValidationError:
            expected = 400
        assert alice.post("/tasks", body).status_code == expected, ascii(body)


def test_the_document_declares_which_operations_need_a_token(
    document: dict[str, Any], app: Flask
) -> None:
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearerAuth"]["scheme"] == "bearer"
    cookie = {"type": "apiKey", "in": "cookie", "name": "access_token"}
    assert schemes["cookieAuth"] == {**cookie, "description": schemes["cookieAuth"]["description"]}
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
        return {parameter["name"]: parameter for parameter in parameters_of(document, path, method)}

    listing = parameters("/api/v1/tasks", "get")
    assert {"limit", "cursor", "sort", "status", "priority", "tag", "dueBefore", "dueAfter",
            "q", "If-None-Match"} <= set(listing)  # fmt: skip
    changes = parameters("/api/v1/tasks/changes", "get")
    assert set(changes) == {"since", "limit", "If-None-Match"}
    assert changes["limit"]["schema"] == {
        "type": "integer", "default": 100, "minimum": 1, "maximum": 500, "examples": [50],
    }  # fmt: skip
    assert "If-None-Match" in parameters("/api/v1/tasks/summary", "get")
    assert "Idempotency-Key" in parameters("/api/v1/tasks/batch", "post")
    assert listing["limit"]["schema"] == {
        "type": "integer", "default": 20, "minimum": 1, "maximum": 100, "examples": [50],
    }  # fmt: skip
    assert listing["sort"]["schema"]["default"] == "-createdAt"
    assert follow(document, listing["sort"]["schema"])["enum"] == list(SORTS)
    assert follow(document, listing["status"]["schema"]["items"])["enum"] == list(STATUSES)
    assert follow(document, listing["priority"]["schema"]["items"])["enum"] == list(PRIORITIES)
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
    assert creation["properties"]["title"]["description"].startswith("1 to 200 characters after")


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
