"""The catalog of errors, and the one place where an error becomes an answer            (COM-005).

A rule that is broken raises `ServiceError("code")` wherever that is noticed. Codes are never
reworded once published. What a library raises is translated to a code here or, for PostgreSQL's
errors, in `db.py`.
"""

import json
import logging
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

logger = logging.getLogger(__name__)

RETRY_AFTER = 2  # seconds: a failover or a full pool has often passed by then
MAX_DETAILS = 50  # a body may break thousands of rules; nobody reads more than these


compact_json = partial(json.dumps, separators=(",", ":"))  # as PostgreSQL writes it


class Problem(NamedTuple):
    """What the catalog holds for a code: its HTTP status and its default message."""

    status: HTTPStatus
    message: str


CATALOG = {
    "validation_error": Problem(HTTPStatus.BAD_REQUEST, "The request is not valid: see details."),
    "invalid_json": Problem(HTTPStatus.BAD_REQUEST, "The body is not a JSON object in UTF-8."),
    "auth_missing": Problem(HTTPStatus.UNAUTHORIZED, "This needs an access token."),
    "auth_invalid": Problem(HTTPStatus.UNAUTHORIZED, "The token is not valid here."),
    "auth_expired": Problem(HTTPStatus.UNAUTHORIZED, "The token has expired."),
    "auth_revoked": Problem(HTTPStatus.UNAUTHORIZED, "The session has ended."),
    "invalid_credentials": Problem(HTTPStatus.UNAUTHORIZED, "The email or password is wrong."),
    "csrf_failed": Problem(HTTPStatus.FORBIDDEN, "X-CSRF-Token is missing or does not match."),
    "task_limit_exceeded": Problem(HTTPStatus.FORBIDDEN, "You have reached the limit of tasks."),
    "not_found": Problem(HTTPStatus.NOT_FOUND, "There is no such route or session."),
    "task_not_found": Problem(HTTPStatus.NOT_FOUND, "There is no such task."),
    "method_not_allowed": Problem(
        HTTPStatus.METHOD_NOT_ALLOWED, "The method is not allowed here: see Allow."
    ),
    "email_taken": Problem(HTTPStatus.CONFLICT, "This email has an account already."),
    "precondition_failed": Problem(HTTPStatus.PRECONDITION_FAILED, "The task has changed."),
    "payload_too_large": Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body exceeds 1 MiB."),
    "unsupported_media_type": Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be declared as application/json."
    ),
    "idempotency_key_reused": Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "This Idempotency-Key came with another body before."
    ),
    "rate_limited": Problem(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests: try again later."),
    "internal_error": Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here."),
    "database_unavailable": Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "The database can't be reached: try again."
    ),
    "pool_exhausted": Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "All database connections are busy: try again."
    ),
    "query_timeout": Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The database took too long."),
}

# What Flask, Werkzeug and WSGI servers raise by status; any other 4xx is a bad request.
_CODE_BY_STATUS = {
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
}


class ServiceError(Exception):
    """An error of the catalog, with `details` as (field, message) pairs where there are any."""

    def __init__(self, code: str, details: list[tuple[str, str]] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.details = details or []

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status that the catalog gives this error."""
        return CATALOG[self.code].status


def error_response(error: ServiceError) -> Response:
    """Build the answer for an error of the catalog."""
    problem = CATALOG[error.code]
    if error.code == "database_unavailable":
        logger.warning("Database unavailable: %s", str(error.__cause__).strip())
    body = {
        "code": error.code,
        "message": problem.message,
        "correlationId": g.get("correlation_id"),
    }
    if error.details:
        body["details"] = [
            # A name comes from the client, and may hold what UTF-8 can't.
            {"field": field.encode(errors="replace").decode()[:100], "message": message}
            for field, message in error.details[:MAX_DETAILS]
        ]
    g.error_code = error.code
    response = Response(
        compact_json({"error": body}), status=problem.status, mimetype="application/json"
    )
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = _challenge(error.code, problem.message)
    elif problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def _challenge(code: str, message: str) -> str:
    """Build WWW-Authenticate; without a token it names no error (RFC 6750 section 3.1)."""
    if code in ("auth_missing", "invalid_credentials"):
        return 'Bearer realm="taskflow"'
    return f'Bearer realm="taskflow", error="invalid_token", error_description="{message}"'


def http_error_response(error: HTTPException) -> Response:
    """Answer what Flask or Werkzeug raised, keeping headers such as Allow and Retry-After."""
    status = error.code or 500
    fallback = "validation_error" if status < 500 else "internal_error"
    response = error_response(ServiceError(_CODE_BY_STATUS.get(status, fallback)))
    for name, value in error.get_headers():
        if name not in ("Content-Type", "Content-Length"):
            response.headers[name] = value
    return response


def unforeseen_error_response(error: Exception) -> Response:
    """Log an unforeseen error once, with its stack, and tell the client nothing of it."""
    logger.error("Unforeseen error", exc_info=error)
    return error_response(ServiceError("internal_error"))


def init_app(app: Flask) -> None:
    """Register the handlers; every error of every route passes through one of them."""
    app.register_error_handler(ServiceError, error_response)
    app.register_error_handler(HTTPException, http_error_response)
    app.register_error_handler(Exception, unforeseen_error_response)
