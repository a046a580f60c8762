"""Logs: one JSON object a line on stdout, with the correlation id of the request        (COM-004).

Used by the service and by gunicorn alike. What a line says besides its message is passed in
`extra={"fields": {…}}`; never a token, cookie, password or body.
"""

import contextlib
import logging
import os
import random
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from flask import Request, g, has_app_context
from pythonjsonlogger.json import JsonEncoder, JsonFormatter

_CORRELATION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def correlation_id_of(request: Request) -> str:
    """Give the id that the client or its router sent, where it is safe to log, or a new UUID."""
    for header in ("HTTP_X_CORRELATION_ID", "HTTP_X_REQUEST_ID"):
        value = request.environ.get(header)
        if value is not None and _CORRELATION_ID.fullmatch(value):
            return str(value)
    # A name, no secret: uuid4() would ask the kernel for each.
    return str(uuid.UUID(int=random.getrandbits(128), version=4))


_STDOUT = 1  # file descriptor
_encode = JsonEncoder().encode  # made once: json.dumps() would make one for every line


def _line(
    created: float, level: str, logger: str, message: str, correlation_id: str | None, **fields: Any
) -> str:
    line = {
        "timestamp": datetime.fromtimestamp(created, UTC).isoformat(),
        "level": level,
        "logger": logger,
        "message": message,
        "service": "taskflow",
        "correlationId": correlation_id,
    }
    line.update(fields)
    return _encode(line)


class LineFormatter(JsonFormatter):
    """Formats a record as one JSON object in ASCII, with its `fields` beside the message.

    The correlation id is that of the request that is being served.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Give the line; what else the record holds is left out.

        In place of the library's own, which looks at every attribute of every record.
        """
        fields = getattr(record, "fields", {})
        if record.exc_info:
            fields = {**fields, "exc_info": self.formatException(record.exc_info)}
        correlation_id = g.get("correlation_id") if has_app_context() else None
        return _line(
            record.created,
            record.levelname,
            record.name,
            record.getMessage(),
            correlation_id,
            **fields,
        )


def write_line(level: int, logger: str, message: str, correlation_id: str, **fields: Any) -> None:
    """Write a line as a logger would, without a record: that costs as much as the line."""
    name = logging.getLevelName(level)
    line = _line(time.time(), name, logger, message, correlation_id, **fields)
    # A whole line in one system call needs no lock, in which threads would wait for each other.
    with contextlib.suppress(OSError):  # no line fails a request
        os.write(_STDOUT, line.encode() + b"\n")


# What no line says is not looked for (Python's logging HOWTO, "Optimization").
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def log_config(level: str) -> dict[str, Any]:
    """Give the `logging.config.dictConfig` of a process; gunicorn's logger takes part in it."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": LineFormatter}},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "json",
            }
        },
        "root": {"level": level.upper(), "handlers": ["stdout"]},
        "loggers": {"gunicorn.error": {"level": level.upper(), "propagate": True}},
    }
