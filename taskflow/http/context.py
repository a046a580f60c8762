"""What one request knows, and what the application is made of."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast

from flask import current_app, g

from taskflow.config import Config

if TYPE_CHECKING:
    from taskflow.auth.tokens import TokenVerifier
    from taskflow.database import Database
    from taskflow.limits import RateLimits


class Allowance(NamedTuple):
    """The state of a rate limit after a request: the limit, what is left, and the reset time."""

    limit: int
    remaining: int
    reset: int  # epoch seconds


@dataclass(slots=True)
class RequestContext:
    """What one request knows; `hooks.before` makes it, and later steps fill it in.

    `user_id` and `session_id` are empty for strangers. A routine request is logged at debug.
    """

    correlation_id: str
    started: float = field(default_factory=time.perf_counter)  # seconds
    user_id: str = ""
    session_id: str = ""
    allowance: Allowance | None = None
    error_code: str | None = None
    is_routine: bool = False


def request_context() -> RequestContext:
    """Return the context of the current request."""
    return cast(RequestContext, g.request_context)


@dataclass(frozen=True)
class Components:
    """What an application is made of; `create_app` puts it together."""

    config: Config
    database: "Database"
    limits: "RateLimits"
    tokens: "TokenVerifier"


def components() -> Components:
    """Return the components of the current application."""
    return cast(Components, current_app.extensions["taskflow"])
