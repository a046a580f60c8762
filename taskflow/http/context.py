"""The state of a request, and the components of the application."""

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
    reset: float  # epoch seconds


class Caller(NamedTuple):
    """The user and the session that send a request."""

    user_id: str
    session_id: str


@dataclass(slots=True)
class RequestContext:
    """The state of one request. `hooks.before` creates it, and later steps fill it in.

    The ids are empty without a valid token. A routine request is logged at debug level.
    """

    correlation_id: str
    started: float = field(default_factory=time.perf_counter)  # seconds
    user_id: str = ""
    session_id: str = ""
    allowance: Allowance | None = None
    error_code: str | None = None
    is_routine: bool = False

    @property
    def caller(self) -> Caller:
        """The user and the session of the request."""
        return Caller(self.user_id, self.session_id)


def request_context() -> RequestContext:
    """Return the context of the current request."""
    return cast(RequestContext, g.request_context)


@dataclass(frozen=True)
class Components:
    """The components of an application; `create_app` puts them together."""

    config: Config
    database: "Database"
    limits: "RateLimits"
    tokens: "TokenVerifier"


def components() -> Components:
    """Return the components of the current application."""
    return cast(Components, current_app.extensions["taskflow"])
