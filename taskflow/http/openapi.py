"""The OpenAPI document: what flask-smorest finds, completed by what each route declares.

flask-smorest documents schemas, parameters and answers. This module adds what follows from the
declarations: authentication, errors, and the headers of every answer.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import flask_smorest
import marshmallow
from flask import Flask
from marshmallow import fields

from taskflow.config import VERSION
from taskflow.errors import CATALOG
from taskflow.http.answers import compact_json
from taskflow.http.routing import Declaration, declaration_of


class ErrorDetailSchema(marshmallow.Schema):
    """A field and what is wrong with it."""

    field = fields.String(required=True)
    message = fields.String(required=True)


class ErrorBodySchema(marshmallow.Schema):
    """The code and the message of an error."""

    code = fields.String(required=True, metadata={"enum": list(CATALOG)})
    message = fields.String(required=True)
    correlationId = fields.String(required=True)
    details = fields.List(
        fields.Nested(ErrorDetailSchema),
        metadata={"description": "Present only if there is something to list."},
    )


class ErrorResponseSchema(marshmallow.Schema):
    """An error, in the one format of this service."""

    error = fields.Nested(ErrorBodySchema, required=True)


def header_parameter(name: str, description: str, **schema: str) -> dict[str, Any]:
    """Return the OpenAPI object of a request header."""
    return {
        "in": "header",
        "name": name,
        "description": description,
        "schema": {"type": "string", **schema},
    }


def uuid_parameter(name: str, example: str) -> dict[str, Any]:
    """Return the OpenAPI object of an id in a path."""
    schema = {"type": "string", "format": "uuid", "examples": [example]}
    return {"in": "path", "name": name, "schema": schema}


COOKIES = {
    "Set-Cookie": {
        "description": "`access_token`, `refresh_token` and `csrf_token`, each in a header.",
        "schema": {"type": "string"},
    }
}
_CSRF_PARAMETER = header_parameter(
    "X-CSRF-Token", "The session's `csrfToken`. Needed if a cookie authenticates the request."
)
_CORRELATION_HEADER = {
    "X-Correlation-ID": {
        "description": "The request's id in the logs: the one that it came with, or a new one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    }
}
_RATE_HEADERS = {
    "X-RateLimit-Limit": {"schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "Epoch seconds.", "schema": {"type": "integer"}},
}
_STATUS_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
}
_ANY_ROUTE = (
    "validation_error",
    "invalid_json",
    "request_timeout",
    "payload_too_large",
    "unsupported_media_type",
    "internal_error",
)
_DATABASE = ("database_unavailable", "pool_exhausted", "query_timeout")
_PROTECTED = ("auth_missing", "auth_invalid", "auth_expired")


class Api(flask_smorest.Api):
    """flask-smorest's API without its own error responses."""

    ERROR_SCHEMA = ErrorResponseSchema
    DEFAULT_ERROR_RESPONSE_NAME = None


def settings() -> dict[str, Any]:
    """Return flask-smorest's settings."""
    return {
        "API_TITLE": "TaskFlow",
        "API_VERSION": VERSION,
        "OPENAPI_VERSION": "3.1.0",
        "API_SPEC_OPTIONS": {
            "info": {"description": f"{_DESCRIPTION}\n{_catalog_table()}"},
            "security": [{"bearerAuth": []}, {"cookieAuth": []}],
            "components": {
                "securitySchemes": {
                    "bearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                    "cookieAuth": {"type": "apiKey", "in": "cookie", "name": "access_token"},
                    "metricsAuth": {"type": "http", "scheme": "bearer"},
                    "refreshAuth": {"type": "apiKey", "in": "cookie", "name": "refresh_token"},
                }
            },
        },
    }


_DESCRIPTION = """Accounts, sessions and tasks of a task manager.

Every error has one of these codes, which never change:
"""


def _catalog_table() -> str:
    rows = [f"| `{c}` | {p.status.value} | {p.message} |" for c, p in CATALOG.items()]
    return "\n".join(["", "| code | status | message |", "|---|---|---|", *rows])


def register(app: Flask, blueprints: Iterable[flask_smorest.Blueprint]) -> str:
    """Register the blueprints and return the OpenAPI document as JSON text."""
    api = Api(app)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    document = api.spec.to_dict()
    for operation, method, declaration in _operations(app, document):
        _complete(operation, method, declaration)
    return compact_json(document)


def _operations(
    app: Flask, document: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], str, Declaration]]:
    """Yield each operation of the document, its method, and what its route declares."""
    for rule in app.url_map.iter_rules():
        path = document["paths"].get(re.sub(r"<(\w+)>", r"{\1}", rule.rule), {})
        for method in rule.methods or ():
            if method.lower() in path:
                view = app.view_functions[rule.endpoint]
                yield path[method.lower()], method, declaration_of(view)


def _complete(operation: dict[str, Any], method: str, declaration: Declaration) -> None:
    codes = {*_ANY_ROUTE, *declaration.errors}
    if declaration.database:
        codes.update(_DATABASE)
    if declaration.budget:
        codes.add("rate_limited")
    if declaration.public:
        operation.setdefault("security", [])
    if operation.get("security") != []:  # public routes may look for a token themselves
        codes.update(_PROTECTED)
        if method not in ("GET", "HEAD"):
            codes.add("csrf_failed")
            operation.setdefault("parameters", []).append(_CSRF_PARAMETER)
    # References are flask-smorest's own errors, which this service does not raise.
    responses = {k: v for k, v in operation["responses"].items() if "$ref" not in v}
    operation["responses"] = responses
    for code in CATALOG:
        if code in codes:
            _add_error(responses, code)
    headers = {**_CORRELATION_HEADER, **(_RATE_HEADERS if declaration.budget else {})}
    for response in responses.values():
        response["headers"] = {**response.get("headers", {}), **headers}


def _add_error(responses: dict[str, Any], code: str) -> None:
    status, message = CATALOG[code]
    response = responses.setdefault(
        str(status.value),
        {
            "description": status.phrase,
            "headers": _STATUS_HEADERS.get(status.value, {}),
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/ErrorResponse"},
                    "examples": {},
                }
            },
        },
    )
    body = {"code": code, "message": message, "correlationId": "4b1f9a0e"}
    response["content"]["application/json"]["examples"][code] = {"value": {"error": body}}
