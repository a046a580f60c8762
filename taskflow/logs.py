"""Logs: one JSON object a line on stdout, with the correlation id of the request        (COM-004).

Used by the service and by gunicorn alike. What a line says besides its message is passed in
`extra`; never a token, cookie, password or body.
"""

import logging
import re
import uuid
from typing import Any

from flask import Request, g, has_app_context
from pythonjsonlogger.json import JsonEncoder, JsonFormatter

_CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def correlation_id_of(request: Request) -> str:
    """Give the id that the client or its router sent, where it is safe to log, or a new UUID."""
    for header in ("X-Correlation-ID", "X-Request-ID"):
        value = request.headers.get(header)
        if value is not None and _CORRELATION_ID.fullmatch(value):
            return value
    return str(uuid.uuid4())


class CorrelationFilter(logging.Filter):
    """Put the correlation id of the request that is being served on each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        record.correlationId = g.get("correlation_id") if has_app_context() else None
        return True


_encoder = JsonEncoder()


class LineFormatter(JsonFormatter):
    """Formats a record as one JSON object in UTF-8-safe ASCII."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message", "correlationId"],
            style="%",
            timestamp=True,
            static_fields={"service": "taskflow"},
            rename_fields={"levelname": "level", "name": "logger"},
            # json.dumps() would make an encoder for every line.
            json_serializer=lambda data, **_options: _encoder.encode(data),
        )


def log_config(level: str) -> dict[str, Any]:
    """Give the `logging.config.dictConfig` of a process; gunicorn's logger takes part in it."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"correlation": {"()": CorrelationFilter}},
        "formatters": {"json": {"()": LineFormatter}},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "json",
                "filters": ["correlation"],
            }
        },
        "root": {"level": level.upper(), "handlers": ["stdout"]},
        "loggers": {"gunicorn.error": {"level": level.upper(), "propagate": True}},
    }
