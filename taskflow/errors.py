"""The catalog of errors, and the one place where an error becomes an answer (COM-005).

A broken rule raises `ServiceError("code")` where it is noticed. Published codes are never
renamed. Library errors are translated to codes here, and PostgreSQL's in `database/errors.py`.
"""

import logging
from http import HTTPStatus
from typing import Any, NamedTuple

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from taskflow.http.answers import compact_json, json_response
from taskflow.http.context import request_context

logger = logging.getLogger(__name__)

RETRY_AFTER = 2  # seconds: a failover or a full pool has often passed by then
MAX_DETAILS = 100  # a body may break thousands of rules; a batch has 100 items


class Problem(NamedTuple):
    """The HTTP status and the default message of a code."""

    status: HTTPStatus
    message: str


CATALOG = {
    "validation_error": Problem(
        HTTPStatus.BAD_REQUEST, "The request is not valid; see its details."
    ),
    "invalid_json": Problem(HTTPStatus.BAD_REQUEST, "The body is not a JSON object in UTF-8."),
    "auth_missing": Problem(HTTPStatus.UNAUTHORIZED, "A token is required."),
    "auth_invalid": Problem(HTTPStatus.UNAUTHORIZED, "The token is not valid."),
    "auth_expired": Problem(HTTPStatus.UNAUTHORIZED, "The token has expired."),
    "auth_revoked": Problem(HTTPStatus.UNAUTHORIZED, "The session has ended."),
    "invalid_credentials": Problem(HTTPStatus.UNAUTHORIZED, "The email or password is wrong."),
    "csrf_failed": Problem(
        HTTPStatus.FORBIDDEN, "The X-CSRF-Token header is missing or does not match."
    ),
    "task_limit_exceeded": Problem(
        HTTPStatus.FORBIDDEN, "You have reached the maximum number of tasks."
    ),
    "not_found": Problem(HTTPStatus.NOT_FOUND, "There is no such route or session."),
    "task_not_found": Problem(HTTPStatus.NOT_FOUND, "There is no such task."),
    "method_not_allowed": Problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "The method is not allowed; the Allow header lists those that are.",
    ),
    "email_taken": Problem(HTTPStatus.CONFLICT, "An account with this email exists already."),
    "changes_expired": Problem(
        HTTPStatus.GONE, "The sync token is no longer valid; start again without one."
    ),
    "precondition_failed": Problem(
        HTTPStatus.PRECONDITION_FAILED, "The task has changed since you read it."
    ),
    "request_timeout": Problem(
        HTTPStatus.REQUEST_TIMEOUT, "The request was not whole within 10 seconds."
    ),
    "payload_too_large": Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body exceeds 1 MiB."),
    "unsupported_media_type": Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be declared as application/json."
    ),
    "idempotency_key_reused": Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "This Idempotency-Key was used with another body."
    ),
    "rate_limited": Problem(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests; try again later."),
    "internal_error": Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong on our side."
    ),
    "database_unavailable": Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "The database can't be reached; try again."
    ),
    "pool_exhausted": Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "All database connections are busy; try again."
    ),
    "query_timeout": Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "The database took too long; try again."
    ),
}

# Codes for the HTTP errors of Flask and Werkzeug; any other 4xx is a validation_error.
_CODE_BY_STATUS = {
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}


class ServiceError(Exception):
    """An error of the catalog, with optional details as (field, message) pairs."""

    def __init__(self, code: str, details: list[tuple[str, str]] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.details = details or []

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status of the code."""
        return CATALOG[self.code].status


class DatabaseRefusalError(ServiceError):
    """`database_unavailable` because of a wrong setting, which an operator has to fix."""

    def __init__(self) -> None:
        super().__init__("database_unavailable")


def error_body(code: str, correlation_id: str, details: list[tuple[str, str]] | None = None) -> str:
    """Return the JSON text of an error, in the one format of the service."""
    error: dict[str, Any] = {
        "code": code,
        "message": CATALOG[code].message,
        "correlationId": correlation_id,
    }
    if details:
        error["details"] = [
            # A field's name comes from the client, and may contain lone surrogates.
            {"field": field.encode(errors="replace").decode()[:100], "message": message}
            for field, message in details[:MAX_DETAILS]
        ]
    return compact_json({"error": error})


def error_response(error: ServiceError) -> Response:
    """Build the answer for an error of the catalog."""
    if isinstance(error, DatabaseRefusalError):
        logger.error("The database refuses the service: %s", str(error.__cause__).strip())
    elif error.code == "database_unavailable":
        logger.warning("Database unavailable: %s", str(error.__cause__).strip())
    context = request_context()
    context.error_code = error.code
    body = error_body(error.code, context.correlation_id, error.details)
    response = json_response(body, error.status)
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = _challenge(error.code)
    elif error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _challenge(code: str) -> str:
    """Return the value of WWW-Authenticate, without an error if no token came (RFC 6750, 3.1)."""
    if code in ("auth_missing", "invalid_credentials"):
        return 'Bearer realm="taskflow"'
    message = CATALOG[code].message
    return f'Bearer realm="taskflow", error="invalid_token", error_description="{message}"'


def http_error_response(error: HTTPException) -> Response:
    """Answer an error of Flask or Werkzeug, keeping headers such as Allow and Retry-After."""
    status = error.code or 500
    fallback = "validation_error" if status < 500 else "internal_error"
    response = error_response(ServiceError(_CODE_BY_STATUS.get(status, fallback)))
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value
    return response


def unforeseen_error_response(error: Exception) -> Response:
    """Log an unforeseen error once, with its stack, and answer without revealing the error."""
    logger.error("Unforeseen error", exc_info=error)
    return error_response(ServiceError("internal_error"))


def init_app(app: Flask) -> None:
    """Register the handlers; every error of every route passes through one of them."""
    app.register_error_handler(ServiceError, error_response)
    app.register_error_handler(HTTPException, http_error_response)
    app.register_error_handler(Exception, unforeseen_error_response)
