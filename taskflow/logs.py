"""Logs: one JSON object a line on stdout, for the service and for gunicorn (COM-004).

Pass the fields of a line besides its message in `extra`. Never log a token, a cookie, a password or
a body.
"""

import logging
import re
import uuid
from typing import Any

from flask import Request, g, has_app_context
from pythonjsonlogger.json import JsonEncoder, JsonFormatter

from taskflow.output import MAX_LINE

SHORT = 100  # characters; shorter texts are never cut

_CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Control characters of a terminal, and characters that some readers treat as the end of a line.
_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


def correlation_id_of(request: Request) -> str:
    """Return the id that the client or its router sent, if it is safe to log, or a new UUID."""
    for header in ("X-Correlation-ID", "X-Request-ID"):
        value = request.headers.get(header)
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


# Characters are not escaped, because an escape takes six bytes. json.dumps() would create a new
# encoder for each line.
_encode = JsonEncoder(ensure_ascii=False).encode


def _serialize(log_data: dict[str, Any], **_options: Any) -> str:
    return _encode(log_data)


class LineFormatter(JsonFormatter):
    """Formats a record as one line of JSON, which stdout takes in one piece."""

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return the JSON; long texts are cut where the line would exceed `MAX_LINE`."""
        while True:
            line = super().jsonify_log_record(log_data)
            if not line.isascii():
                line = line.translate(_ESCAPES)
            if _size(line) < MAX_LINE or not (name := _longest(log_data)):
                return line
            log_data[name] = _cut(name, log_data[name])


def _size(text: str) -> int:
    """Return the number of bytes that a text takes in a line, or nearly so."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))


def _longest(log_data: dict[str, Any]) -> str | None:
    """Return the name of the text to cut next: the path only after all others."""
    names = [k for k, v in log_data.items() if isinstance(v, str) and len(v) > SHORT]
    return max(names, key=lambda name: (name != "path", _size(log_data[name])), default=None)


def _cut(name: str, text: str) -> str:
    """Return three quarters of a text; of a stack the end matters most, so the middle is cut."""
    kept = len(text) * 3 // 8
    if name == "path":
        return text[: 2 * kept]
    return f"{text[:kept]}…{text[-kept:]}"


def json_formatter() -> JsonFormatter:
    """Return the formatter of every line."""
    return LineFormatter(
        ["levelname", "name", "message"],
        json_serializer=_serialize,
        rename_fields={"levelname": "level", "name": "logger"},
        static_fields={"service": "taskflow"},
        timestamp=True,
    )


def log_config(level: str) -> dict[str, Any]:
    """Return the `logging.config.dictConfig` of a process, which includes gunicorn's loggers."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"correlation_id": {"()": CorrelationIdFilter}},
        "formatters": {"json": {"()": json_formatter}},
        "handlers": {
            "stdout": {
                "class": "taskflow.output.StdoutHandler",
                "formatter": "json",
                "filters": ["correlation_id"],
            }
        },
        "root": {"level": level.upper(), "handlers": ["stdout"]},
        "loggers": {"gunicorn.error": {"level": level.upper(), "propagate": True}},
    }
