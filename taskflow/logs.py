"""Logs: one JSON object a line on stdout, for the service and for gunicorn (COM-004).

Pass what a line says besides its message in `extra`. Never log a token, a cookie, a password or a
body.
"""

import logging
import re
import uuid
from typing import Any

from flask import Request, g, has_app_context
from pythonjsonlogger.json import JsonFormatter

from taskflow.http.parsing import header_of

_CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def correlation_id_of(request: Request) -> str:
    """Return the id that the client or its router sent, if it is safe to log, or a new UUID."""
    for header in ("X-Correlation-ID", "X-Request-ID"):
        value = header_of(request, header)
        if value is not None and _CORRELATION_ID.fullmatch(value):
            return value
    return str(uuid.uuid4())


class CorrelationIdFilter(logging.Filter):
    """Adds the id of the request that is being served to every line that has no id yet."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the record's correlation id, None outside of a request, and keep the record."""
        if not hasattr(record, "correlationId"):
            context = g.get("request_context") if has_app_context() else None
            record.correlationId = context and context.correlation_id
        return True


def json_formatter() -> JsonFormatter:
    """Return the formatter of every line."""
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        static_fields={"service": "taskflow"},
        timestamp=True,
    )


def log_config(level: str) -> dict[str, Any]:
    """Return the `logging.config.dictConfig` of a process; gunicorn's loggers take part in it."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"correlation_id": {"()": CorrelationIdFilter}},
        "formatters": {"json": {"()": json_formatter}},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "json",
                "filters": ["correlation_id"],
            }
        },
        "root": {"level": level.upper(), "handlers": ["stdout"]},
        "loggers": {"gunicorn.error": {"level": level.upper(), "propagate": True}},
    }
