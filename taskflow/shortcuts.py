"""Shortcuts past libraries. Each saves at least 5 % of the service's CPU for a GET.

The saving is measured in paired rounds. Without a shortcut, the service behaves the same and is
slower.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from taskflow.logs import CorrelationIdFilter, LineFormatter
from taskflow.output import StdoutHandler


def log_request(logger: logging.Logger, level: int, message: str, fields: dict[str, Any]) -> None:
    """Log the line of a request.

    If the only handler is the one of `log_config`, its formatter gets the fields as they are.
    `logging` would store them in a `LogRecord`, among facts about the process and the caller, and
    the formatter would pick them out again. The shortcut saves 8 %.
    """
    if not logger.isEnabledFor(level):
        return
    match _only_handler(logger):
        case (
            StdoutHandler(
                level=logging.NOTSET,
                filters=[CorrelationIdFilter()],
                formatter=LineFormatter() as formatter,
            ) as handler
        ) if not logger.filters:
            line = {
                "level": logging.getLevelName(level),
                "logger": logger.name,
                "message": message,
                **formatter.static_fields,
                **fields,
                "timestamp": datetime.now(UTC).isoformat(),
            }
            handler.write(formatter.serialize_log_record(line))
        case _:
            logger.log(level, message, extra=fields)


def _only_handler(logger: logging.Logger) -> logging.Handler | None:
    """Return the handler of a logger's records, or None if there are several or none."""
    handlers: list[logging.Handler] = []
    ancestor: logging.Logger | None = logger
    while ancestor:
        handlers += ancestor.handlers
        ancestor = ancestor.parent if ancestor.propagate else None
    return handlers[0] if len(handlers) == 1 else None
