"""The examples of the OpenAPI document are correct: a client sends each and checks the answer."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from taskflow.auth.resets import make_reset_token
from taskflow.tasks.schemas import TASK
from tests.support.credentials import SECRET
from tests.support.openapi import (
    follow,
    matches,
    operations,
    parameters_of,
    validate_content,
)
from tests.support.text import same

AUTH, TASKS = "/api/v1/auth", "/api/v1/tasks"
RESTORE = f"{TASKS}/{{task_id}}/restore"
METRICS_TOKEN = "the-metrics-token"


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    return app.test_client().get("/openapi.json").json


def examples_of(parameters: list[dict[str, Any]], location: str) -> dict[str, Any]:
    return {
        parameter["name"]: parameter["schema"]["examples"][0]
        for parameter in parameters
        # Only the service can sign cursors and tokens.
        if parameter["in"] == location and parameter["name"] not in ("cursor", "since")
    }


class Reader:
    """A client that sends the example requests of the document."""

    def __init__(self, document: dict[str, Any], client: FlaskClient) -> None:
        self._document, self._client = document, client
        self._headers: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self.reset_token = ""

    def begin(self) -> None:
        """Register, create a task, and keep the tokens and ids that later requests need."""
        content = self._document["paths"][f"{AUTH}/sessions"]["get"]["responses"]["200"]["content"]
        [session] = content["application/json"]["example"]["data"]
        self._headers["User-Agent"] = session["userAgent"]
        [(_, registered)] = self.send(f"{AUTH}/register", "post")
        self._headers["Authorization"] = f"Bearer {registered.json['accessToken']}"
        self._headers["X-CSRF-Token"] = registered.json["csrfToken"]
        [(_, made)] = self.send(TASKS, "post")
        [(_, listed)] = self.send(f"{AUTH}/sessions", "get")
        self._ids = {"task_id": made.json["id"], "session_id": listed.json["data"][0]["id"]}

    def _with_own_values(self, example: Any) -> str:
        """Return the JSON of an example that names the client's own task and reset token."""
        body = example | {"token": self.reset_token} if self.reset_token else example
        return json.dumps(body).replace(TASK["id"], self._ids.get("task_id", ""))

    def send(self, path: str, method: str) -> Iterator[tuple[str, TestResponse]]:
        """Send the example of an operation in each content type, and yield the answers."""
        parameters = parameters_of(self._document, path, method)
        assert set(examples_of(parameters, "path")) <= set(self._ids)
        headers = dict(self._headers)
        if path == "/metrics":
            headers["Authorization"] = f"Bearer {METRICS_TOKEN}"
        operation = self._document["paths"][path][method]
        bodies = operation.get("requestBody", {}).get("content", {"": {"example": None}})
        for content_type, content in bodies.items():
            yield (
                content_type,
                self._client.open(
                    path.format(**self._ids),
                    method=method.upper(),
                    query_string=examples_of(parameters, "query"),
                    data=content_type and self._with_own_values(content["example"]),
                    content_type=content_type or None,
                    headers=headers,
                ),
            )


def test_example_requests_are_answered_with_the_example_answers(
    document: dict[str, Any], app_with: Callable[..., Flask], sql: Callable[..., Any]
) -> None:
    app = app_with(metrics_token=METRICS_TOKEN, max_tasks_per_user=1000)
    for path, method, operation in operations(document):
        sql("DELETE FROM users")
        reader = Reader(document, app.test_client())
        if path != f"{AUTH}/register":
            reader.begin()
        if path == RESTORE:
            list(reader.send(f"{TASKS}/{{task_id}}", "delete"))
        if path == f"{AUTH}/password/reset":  # its token is signed by the service
            reader.reset_token = reset_token(sql)
        for content_type, response in reader.send(path, method):
            assert response.status_code < 300, (path, method, content_type, response.text)
            matches(document, path, response)
            shown = operation["responses"][str(response.status_code)].get("content", {})
            for content in shown.values():
                assert_shown(content["example"], response)


def reset_token(sql: Callable[..., Any]) -> str:
    """Return a token that resets the password of the only user."""
    [(user_id, password_hash)] = sql("SELECT id::text, password_hash FROM users")
    return make_reset_token(user_id, password_hash, [SECRET])


def assert_shown(example: Any, response: TestResponse) -> None:
    """Assert that an answer equals the example, except for values that vary."""
    if response.is_json:
        assert comparable(response.json) == comparable(example)
    else:  # metrics: their names, help and types
        assert set(example.splitlines()[:-1]) <= set(response.text.splitlines())
        assert example.rpartition(" ")[0].splitlines()[-1] in response.text


def comparable(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    text = re.sub(r'"version":\d+', '"version":0', text)
    return same(re.sub(r'"nextSince":"[^"]+"', '"nextSince":"…"', text))


def test_every_example_body_matches_its_schema(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            validate_content(document, content["example"], content)
        for status, described in operation["responses"].items():
            for content in follow(document, described).get("content", {}).values():
                found = [example["value"] for example in content.get("examples", {}).values()]
                found += [content["example"]] if "example" in content else []
                assert found, (path, method, status)
                for example in found:
                    validate_content(document, example, content)
