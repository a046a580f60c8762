"""Answers to requests that the server refuses before the application sees them.

These answers look like every other error of the service. `gunicorn.conf.py` passes `answer_refusal`
to the server.
"""

import logging
from collections.abc import Sequence

from flask import Request

from taskflow.config import Config
from taskflow.errors import CATALOG, error_body
from taskflow.http.headers import CONTENT_SECURITY_POLICY, constant_headers
from taskflow.logs import correlation_id_of

logger = logging.getLogger("taskflow.refusals")

Headers = Sequence[tuple[str, str]]

_CODE_BY_STATUS = {408: "request_timeout", 413: "payload_too_large", 500: "internal_error"}


def answer_refusal(
    config: Config, status: int, reason: str, client: str, headers: Headers
) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return the status line, the headers and the body of an answer, and log the refusal.

    `headers` are the request's, as far as the server could read them. `reason` is only logged.
    """
    code = _CODE_BY_STATUS.get(status, "validation_error")
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}
    correlation_id = correlation_id_of(Request(environ))
    found = CATALOG[code].status
    logger.log(
        logging.ERROR if found >= 500 else logging.INFO,
        "Refused a request: %s %s",
        found.value,
        code,
        extra={
            "correlationId": correlation_id,
            "status": found.value,
            "errorCode": code,
            "reason": reason,
            "remoteAddr": client or None,
        },
    )
    answer = {
        "Content-Type": "application/json",
        "X-Correlation-ID": correlation_id,
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Cache-Control": "no-store",
        **constant_headers(config),
        **_cors_headers(config, environ.get("HTTP_ORIGIN")),
    }
    details = [("request", "Must be valid HTTP/1.1.")] if code == "validation_error" else None
    body = error_body(code, correlation_id, details).encode()
    return f"{found.value} {found.phrase}", list(answer.items()), body


def _cors_headers(config: Config, origin: str | None) -> dict[str, str]:
    if not config.cors_origins:
        return {}
    vary = {"Vary": "Origin"}
    if origin not in config.cors_origins:
        return vary
    return vary | {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "X-Correlation-ID",
    }
