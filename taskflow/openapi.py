"""OpenAPI: what the document says of every route beside what its decorators say.

The errors that any route may answer with, the headers of every answer, and how to authenticate.
"""

from collections.abc import Callable
from typing import Any

import flask_smorest
import marshmallow
from marshmallow import fields

from taskflow.api import StrictParser
from taskflow.config import VERSION
from taskflow.errors import CATALOG


class ErrorBodySchema(marshmallow.Schema):
    """What every error says."""

    code = fields.String(required=True, metadata={"enum": list(CATALOG)})
    message = fields.String(required=True)
    correlationId = fields.String(required=True)
    details = fields.List(
        fields.Nested(
            marshmallow.Schema.from_dict(
                {
                    "field": fields.String(required=True),
                    "message": fields.String(required=True),
                },
                name="ErrorDetailSchema",
            )
        ),
        metadata={"description": "Only where there is something to list."},
    )


class ErrorSchema(marshmallow.Schema):
    """An error, in the one format of this service."""

    error = fields.Nested(ErrorBodySchema, required=True)


def header_parameter(name: str, description: str, **schema: str) -> dict[str, Any]:
    """Give OpenAPI's object for a header that a request may have."""
    return {
        "in": "header",
        "name": name,
        "description": description,
        "schema": {"type": "string", **schema},
    }


def uuid_parameter(name: str, example: str) -> dict[str, Any]:
    """Give OpenAPI's object for an id in a path."""
    schema = {"type": "string", "format": "uuid", "examples": [example]}
    return {"in": "path", "name": name, "schema": schema}


_CORRELATION_ID = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"}
CORRELATION_HEADER = {
    "X-Correlation-ID": {
        "description": "The request's id in the logs: the one it came with, or a new one.",
        "schema": _CORRELATION_ID,
    }
}
CSRF_PARAMETER = header_parameter(
    "X-CSRF-Token", "`csrfToken` of the session; needed where a cookie is what authenticates."
)
_STATUS_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer"}}},
    503: {"Retry-After": {"schema": {"type": "integer"}}},
}
_ANY_ROUTE = (
    "validation_error",
    "invalid_json",
    "payload_too_large",
    "unsupported_media_type",
    "internal_error",
)
_DATABASE = ("database_unavailable", "pool_exhausted", "query_timeout")
_LIMITED = ("rate_limited",)
_RATE_HEADERS = {
    "X-RateLimit-Limit": {"schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "Epoch seconds.", "schema": {"type": "integer"}},
}
_PROTECTED = ("auth_missing", "auth_invalid", "auth_expired")


def _documenting(decorator: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a decorator of flask-smorest note what it documents, and leave the view as it is."""

    def note(view: Any) -> Any:
        view._apidoc = decorator(view)._apidoc
        return view

    return note


class Blueprint(flask_smorest.Blueprint):
    """flask-smorest's blueprint with the strict parser, and the errors of each route."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(
        self, *args: Any, database: bool = True, limited: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._common_errors = (
            *_ANY_ROUTE,
            *(_DATABASE if database else ()),
            *(_LIMITED if limited else ()),
        )
        self._headers = {**CORRELATION_HEADER, **(_RATE_HEADERS if limited else {})}
        self._prepare_doc_cbks.append(self._prepare_common_doc)

    def arguments(self, schema: type[marshmallow.Schema], **kwargs: Any) -> Any:
        """Take a schema's class, and make it once: webargs would do so for every request."""
        return super().arguments(schema(), **kwargs)

    def response(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Document an answer; the views make their answers themselves."""
        return _documenting(super().response(*args, **kwargs))

    def alt_response(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Document another answer."""
        return _documenting(super().alt_response(*args, **kwargs))

    def doc(self, **kwargs: Any) -> Callable[[Any], Any]:
        """Document what no other decorator does."""
        return _documenting(super().doc(**kwargs))

    def errors(self, *codes: str) -> Callable[[Any], Any]:
        """Document the codes that a route answers with, beside those that every route may."""

        def decorator(view: Any) -> Any:
            view._apidoc = {**getattr(view, "_apidoc", {}), "errors": codes}
            return view

        return decorator

    def _prepare_common_doc(
        self, doc: dict[str, Any], doc_info: dict[str, Any], *, method: str, **kwargs: Any
    ) -> dict[str, Any]:
        public = doc_info.get("manual_doc", {}).get("security") == []
        unsafe = method not in ("get", "head")
        codes = [*doc_info.get("errors", ()), *self._common_errors]
        codes += () if public else _PROTECTED
        if unsafe and not public:
            codes.append("csrf_failed")
            manual = doc_info.setdefault("manual_doc", {})  # whose list replaces the other
            manual["parameters"] = [*manual.get("parameters", []), CSRF_PARAMETER]
        # Names instead of responses are flask-smorest's own errors, with another format.
        responses = doc["responses"] = {
            str(int(status)): response
            for status, response in doc.get("responses", {}).items()
            if isinstance(response, dict)
        }
        for code in CATALOG:
            if code in codes:
                self._add_error(responses, code)
        for response in responses.values():
            response["headers"] = {**response.get("headers", {}), **self._headers}
        return doc

    @staticmethod
    def _add_error(responses: dict[str, Any], code: str) -> None:
        status, message = CATALOG[code]
        response = responses.setdefault(
            str(status.value),
            {
                "description": status.phrase,
                "headers": _STATUS_HEADERS.get(status.value, {}),
                "content": {"application/json": {"schema": ErrorSchema, "examples": {}}},
            },
        )
        body = {"code": code, "message": message, "correlationId": "4b1f9a0e"}
        response["content"]["application/json"]["examples"][code] = {"value": {"error": body}}


class Api(flask_smorest.Api):
    """flask-smorest's API, whose own errors have the schema of ours."""

    ERROR_SCHEMA = ErrorSchema


_DESCRIPTION = """Accounts, sessions and tasks of a task manager.

Every error has a code of this catalog, which is never reworded:
"""


def _catalog_table() -> str:
    rows = [f"| `{c}` | {p.status.value} | {p.message} |" for c, p in CATALOG.items()]
    return "\n".join(["", "| code | status | message |", "|---|---|---|", *rows])


def openapi_config() -> dict[str, Any]:
    """Give flask-smorest's settings: OpenAPI 3.1 on /openapi.json, and how to authenticate."""
    return {
        "API_TITLE": "TaskFlow",
        "API_VERSION": VERSION,
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
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
