"""The shared parts of the OpenAPI document: errors, headers, parameters and security schemes."""

from http import HTTPStatus
from typing import Any

from apispec import APISpec
from marshmallow import Schema, fields

from taskflow.config import CookieNames
from taskflow.errors import CATALOG
from taskflow.http.fields import Choice


class ErrorDetailSchema(Schema):
    """A field and what is wrong with it."""

    field = fields.String(required=True)
    message = fields.String(required=True)


class ErrorBodySchema(Schema):
    """The code and the message of an error."""

    code = Choice("ErrorCode", CATALOG, required=True)
    message = fields.String(required=True)
    correlationId = fields.String(required=True)
    details = fields.List(
        fields.Nested(ErrorDetailSchema),
        metadata={"description": "Present only if there is something to list."},
    )


class ErrorResponseSchema(Schema):
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
    return {"in": "path", "name": name, "required": True, "schema": schema}


CSRF_TOKEN = header_parameter(
    "X-CSRF-Token", "The session's `csrfToken`. Needed if a cookie authenticates the request."
)
COOKIES = {
    "Set-Cookie": {
        "description": "`access_token`, `refresh_token` and `csrf_token`, each in a header. "
        "In production their names have prefixes.",
        "schema": {"type": "string"},
    }
}
CORRELATION_ID = {
    "X-Correlation-ID": {
        "description": "The request's id in the logs: the one that the client sent, or a new one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    }
}
RATE_LIMIT = {
    "X-RateLimit-Limit": {
        "description": "The number of requests that the limit allows.",
        "schema": {"type": "integer"},
    },
    "X-RateLimit-Remaining": {
        "description": "The number of requests that are left.",
        "schema": {"type": "integer"},
    },
    "X-RateLimit-Reset": {
        "description": "The time when the limit is reset, in epoch seconds.",
        "schema": {"type": "integer"},
    },
}
_CHALLENGE = {"description": "The challenge of RFC 6750.", "schema": {"type": "string"}}
_RETRY_AFTER = {"description": "Seconds.", "schema": {"type": "integer"}}
_STATUS_HEADERS = {
    401: {"WWW-Authenticate": _CHALLENGE},
    429: {"Retry-After": _RETRY_AFTER},
    503: {"Retry-After": _RETRY_AFTER},
}


def security_schemes(names: CookieNames) -> dict[str, Any]:
    """Return the OpenAPI objects of the ways to authenticate."""
    return {
        "bearerAuth": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token. It wins over a cookie.",
        },
        "cookieAuth": {
            "type": "apiKey",
            "in": "cookie",
            "name": names.access,
            "description": "The access token of a session. Unsafe methods need `X-CSRF-Token` too.",
        },
        "metricsAuth": {
            "type": "http",
            "scheme": "bearer",
            "description": "The value of METRICS_TOKEN.",
        },
        "refreshAuth": {
            "type": "apiKey",
            "in": "cookie",
            "name": names.refresh,
            "description": "The refresh token of a session.",
        },
    }


# The phrases of RFC 9110, as in Python 3.13. Names in generated clients must not depend on the
# version of Python.
_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}


def response_name(status: HTTPStatus) -> str:
    """Return the name of the component that describes the errors of a status."""
    return _phrase(status).title().replace(" ", "")


def _phrase(status: HTTPStatus) -> str:
    return _PHRASES.get(status.value, status.phrase)


def register_errors(spec: APISpec) -> None:
    """Register the error codes, and a response for each status that an operation refers to."""
    spec.components.schema(
        "ErrorCode", {"type": "string", "enum": list(CATALOG), "description": _catalog_table()}
    )
    for header, description in {**CORRELATION_ID, **RATE_LIMIT}.items():
        spec.components.header(header, description)
    for status in dict.fromkeys(problem.status for problem in CATALOG.values()):
        spec.components.response(response_name(status), _error_response(status), lazy=True)


def _error_response(status: HTTPStatus) -> dict[str, Any]:
    examples = {c: _example(c, p.message) for c, p in CATALOG.items() if p.status == status}
    content = {"schema": "ErrorResponse", "examples": examples}
    return {
        "description": f"{_phrase(status)}: {', '.join(f'`{code}`' for code in examples)}.",
        "headers": {
            **_STATUS_HEADERS.get(status.value, {}),
            **{name: name for name in (*CORRELATION_ID, *RATE_LIMIT)},
        },
        "content": {"application/json": content},
    }


def _example(code: str, message: str) -> dict[str, Any]:
    body = {"code": code, "message": message, "correlationId": "4b1f9a0e"}
    return {"value": {"error": body}}


def _catalog_table() -> str:
    rows = [f"| `{c}` | {p.status.value} | {p.message} |" for c, p in CATALOG.items()]
    return "\n".join(["The codes never change.", "", "| code | status | message |",
                      "|---|---|---|", *rows])  # fmt: skip
