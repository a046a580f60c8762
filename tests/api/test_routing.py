"""A new route with a body is protected, validated, limited, logged and documented."""

import json
from dataclasses import replace

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from marshmallow import RAISE, Schema, fields

from taskflow import BLUEPRINTS, create_app
from taskflow.config import Config
from taskflow.http.answers import compact_json, json_response
from taskflow.http.context import request_context
from taskflow.http.fields import Text
from taskflow.http.routing import Blueprint
from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.openapi import matches, validate
from tests.support.users import User


class NoteSchema(Schema):
    """A note."""

    class Meta:
        unknown = RAISE

    text = Text(1, 100, required=True)


class AnswerSchema(Schema):
    """A note and its user."""

    text = fields.String(required=True)
    userId = fields.UUID(required=True)


notes = Blueprint("notes", __name__, url_prefix="/api/v1/notes", description="Notes.")


@notes.route("", methods=["POST"])
@notes.arguments(NoteSchema, example={"text": "Hello"})
@notes.response(201, AnswerSchema)
def create_note(body: dict[str, str]) -> Response:
    """Create a note.

    Returns it with its user.
    """
    return json_response(compact_json({**body, "userId": request_context().user_id}), 201)


@pytest.fixture
def app(config: Config) -> Flask:
    """Return the application with an additional route and a small budget."""
    return create_app(replace(config, rate_limit="5/minute"), [*BLUEPRINTS, notes])


def test_a_new_route_answers_its_user(alice: User) -> None:
    response = alice.post("/notes", {"text": "Hello"})
    assert (response.status_code, response.json) == (201, {"text": "Hello", "userId": alice.id})
    assert response.headers["Cache-Control"] == "no-store"


def test_a_new_route_is_protected(client: FlaskClient) -> None:
    response = client.post("/api/v1/notes", json={"text": "Hello"})
    assert_error(response, 401, "auth_missing")
    account = {"email": "ann@example.com", "password": PASSWORD}
    session = client.post("/api/v1/auth/register", json=account)  # which sets cookies
    assert_error(client.post("/api/v1/notes", json={"text": "Hello"}), 403, "csrf_failed")
    csrf = {"X-CSRF-Token": session.json["csrfToken"]}
    assert client.post("/api/v1/notes", json={"text": "Hi"}, headers=csrf).status_code == 201


def test_a_new_route_is_validated(alice: User) -> None:
    assert_error(alice.post("/notes", {}), 400, "validation_error", "text")
    assert_error(alice.post("/notes", {"text": "x", "other": 1}), 400, "validation_error", "other")
    assert_error(alice.post("/notes?x=1", {"text": "x"}), 400, "validation_error", "x")
    response = alice.request("POST", "/notes", data=b"{", content_type="application/json")
    assert_error(response, 400, "invalid_json")


def test_a_new_route_is_limited(alice: User) -> None:
    statuses = [alice.post("/notes", {"text": "Hello"}).status_code for _ in range(6)]
    assert statuses == [201] * 5 + [429]


def test_a_new_route_is_logged(alice: User, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "taskflow.request"):
        alice.post("/notes", {"text": "Hello"})
    record = caplog.records[-1]
    assert record.name == "taskflow.request"
    assert record.message == "POST /api/v1/notes 201"
    assert (record.route, record.userId) == ("/api/v1/notes", alice.id)  # type: ignore[attr-defined]


def test_a_new_route_is_documented(alice: User, client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    operation = document["paths"]["/api/v1/notes"]["post"]
    assert (operation["operationId"], operation["summary"]) == ("createNote", "Create a note")
    assert set(operation["responses"]) == {
        "201", "400", "401", "403", "408", "413", "415", "429", "500", "503",
    }  # fmt: skip
    assert {"csrf_failed", "rate_limited", "invalid_json"} <= set(operation["x-error-codes"])
    assert "Note" in json.dumps(operation["requestBody"])
    validate(document, {"text": "Hello"}, "components", "schemas", "Note")
    assert {"name": "notes", "description": "Notes."} in document["tags"]
    matches(document, "/api/v1/notes", alice.post("/notes", {"text": "Hello"}))
    matches(document, "/api/v1/notes", alice.post("/notes", {}))
