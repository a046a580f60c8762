"""flask-smorest, made strict: what a request may hold, and what OpenAPI says of every route.

Nothing that a client sends is ignored: a body, a query parameter or a header is understood or
refused. Nothing here knows a route.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import flask_smorest
import marshmallow
from flask import Request, Response
from marshmallow import fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException

from taskflow import errors
from taskflow.errors import CATALOG, ServiceError

MAX_BODY = 1024 * 1024  # bytes
_JSON_TYPES = ("application/json", "application/merge-patch+json")


def json_response(text: str, status: int = 200, **headers: str) -> Response:
    """Answer with JSON text; a header's name is written with `_` for `-`."""
    response = Response(text, status=status, mimetype="application/json")
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def no_content() -> Response:
    """Answer 204, with neither a body nor its type."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def read_body(request: Request) -> bytes:
    """Give the body; raises `ServiceError` `payload_too_large`.

    Werkzeug refuses what a Content-Length announces, but cuts a chunked body off at its limit
    without a word: so that limit is one byte beyond ours.
    """
    body: bytes = request.get_data(cache=True)
    if len(body) > MAX_BODY:
        raise ServiceError("payload_too_large")
    return body


def load_json_object(request: Request) -> dict[str, Any]:
    """Parse the body as one JSON object (RFC 8259), strictly.

    Raises `ServiceError` `payload_too_large`, `unsupported_media_type` or `invalid_json`.
    """
    body = read_body(request)
    if request.mimetype not in _JSON_TYPES:
        raise ServiceError("unsupported_media_type")
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # also numbers of thousands of digits
        raise ServiceError("invalid_json") from None
    if not isinstance(value, dict):
        raise ServiceError("invalid_json")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is named twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def load_query(request: Request, lists: Iterable[str] = ()) -> dict[str, str | list[str]]:
    """Parse the query string; a parameter may stand twice only where it is one of `lists`.

    Raises `ServiceError` `validation_error`.
    """
    values: dict[str, list[str]] = {}
    # Latin-1 carries the bytes through the parser, which would replace broken UTF-8.
    raw = request.query_string.decode("latin-1")
    for name_bytes, value_bytes in parse_qsl(raw, keep_blank_values=True, encoding="latin-1"):
        name = name_bytes.encode("latin-1").decode(errors="replace")
        try:
            values.setdefault(name, []).append(value_bytes.encode("latin-1").decode())
        except UnicodeDecodeError:
            raise ServiceError("validation_error", [(name, "Must be UTF-8.")]) from None
        if len(values[name]) > 1 and name not in lists:
            raise ServiceError("validation_error", [(name, "May stand only once.")])
    return {name: found if name in lists else found[0] for name, found in values.items()}


def refuse_query(request: Request) -> None:
    """Refuse query parameters; raises `ServiceError` `validation_error`."""
    if request.query_string:
        _refuse_names(load_query(request))


def refuse_body(request: Request) -> None:
    """Refuse a body with fields in it; raises `ServiceError`.

    An empty body and an empty object are fine: some clients always send one.
    """
    if (request.content_length or "Transfer-Encoding" in request.headers) and read_body(request):
        _refuse_names(load_json_object(request))


def _refuse_names(names: Iterable[str]) -> None:
    details = [(name, "Unknown field.") for name in names]
    if details:
        raise ServiceError("validation_error", details)


def _flatten(messages: Any, path: str) -> Iterator[tuple[str, str]]:
    """Turn marshmallow's nested messages into (dotted field, message) pairs."""
    if isinstance(messages, dict):
        for key, nested in messages.items():
            yield from _flatten(nested, f"{path}.{key}")
    else:
        for message in messages:
            yield path, str(message)


class StrictParser(FlaskParser):
    """webargs, refusing what it would ignore: content types, duplicates, unknown parameters."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"json": marshmallow.RAISE, "query": marshmallow.RAISE}

    def load_json(self, req: Request, schema: marshmallow.Schema) -> dict[str, Any]:
        """Give the body's object."""
        return load_json_object(req)

    def load_querystring(self, req: Request, schema: marshmallow.Schema) -> dict[str, Any]:
        """Give the query parameters, those that are repeatable as lists."""
        lists = [n for n, field in schema.load_fields.items() if isinstance(field, fields.List)]
        return load_query(req, lists)

    def handle_error(
        self, error: marshmallow.ValidationError, *args: Any, **kwargs: Any
    ) -> NoReturn:
        """Name every rule that was broken; raises `ServiceError` `validation_error`."""
        [(location, found)] = error.messages_dict.items()  # webargs puts the location around
        details = [
            # A query parameter is named as the client wrote it, without the position in it.
            (name if location == "query" else path, message)
            for name, messages in found.items()
            for path, message in _flatten(messages, name)
        ]
        raise ServiceError("validation_error", details) from error


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
_PROTECTED = ("auth_missing", "auth_invalid", "auth_expired")


class Blueprint(flask_smorest.Blueprint):
    """flask-smorest's blueprint with the strict parser, and the errors of each route."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, *args: Any, database: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._common_errors = (*_ANY_ROUTE, *(_DATABASE if database else ()))
        self._prepare_doc_cbks.append(self._prepare_common_doc)

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
            response["headers"] = {**response.get("headers", {}), **CORRELATION_HEADER}
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
    """flask-smorest's API with the error format of `errors.py`."""

    ERROR_SCHEMA = ErrorSchema

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Answer an error that Flask or Werkzeug raised."""
        return errors.http_error_response(error)


def openapi_config(version: str) -> dict[str, Any]:
    """Give flask-smorest's settings: OpenAPI 3.1 on /openapi.json, and how to authenticate."""
    return {
        "API_TITLE": "TaskFlow",
        "API_VERSION": version,
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "API_SPEC_OPTIONS": {
            "info": {"description": "Accounts, sessions and tasks of a task manager."},
            "security": [{"bearerAuth": []}, {"cookieAuth": []}],
            "components": {
                "securitySchemes": {
                    "bearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                    "cookieAuth": {"type": "apiKey", "in": "cookie", "name": "access_token"},
                    "refreshAuth": {"type": "apiKey", "in": "cookie", "name": "refresh_token"},
                }
            },
        },
    }
