"""Rate limits: a budget of requests for each user, and one of password checks for each address.

Counted by the library `limits` in fixed windows, in memory or in redis. Where redis is away,
requests are let through: a limit protects the service, it must not be what stops it.
"""

import logging
import math
import threading
import time
from typing import Any, NamedTuple, cast

from flask import Request, Response, current_app, g
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string

from taskflow.config import Config
from taskflow.errors import ServiceError

logger = logging.getLogger(__name__)

# What guesses passwords counts in its own budget, and there alone.
PASSWORD_ENDPOINTS = frozenset(
    {"auth.register", "auth.login", "auth.change_password", "auth.delete_account"}
)
AWAY_SECONDS = 5  # before a storage that failed is asked again
SWEEP_SECONDS = 60  # between two sweeps of the counters that are over
REDIS_SECONDS = 0.2  # for an answer of redis: no request shall wait for its limit


class Budget(NamedTuple):
    """What is left of a budget: the limit, the rest of it, and when it is whole again (epoch)."""

    limit: int
    remaining: int
    reset: int


class _Memory:
    """Counters of this process.

    The library's own start a thread every 10 ms under load: 40 µs a request, against 2.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, float]] = {}
        self._swept = 0.0

    def incr(self, key: str, expiry: float) -> int:
        now = time.time()
        with self._lock:
            if now > self._swept + SWEEP_SECONDS:
                self._swept = now
                self._windows = {k: w for k, w in self._windows.items() if w[1] > now}
            count, end = self._windows.get(key, (0, now + expiry))
            if end <= now:
                count, end = 0, now + expiry
            self._windows[key] = (count + 1, end)
        return count + 1

    def get_expiry(self, key: str) -> float:
        return self._windows[key][1]


class RateLimits:
    """The two budgets of every client."""

    def __init__(self, config: Config) -> None:
        self._storage = _storage(config.rate_limit_storage)
        self._overall = parse(config.rate_limit)
        self._passwords = parse(config.auth_rate_limit)
        self._away_until = 0.0

    def spend(self, request: Request, user_id: str | None) -> None:
        """Take a request off its budget, whose state the answer then shows.

        Raises `ServiceError` `rate_limited`.
        """
        if request.endpoint in PASSWORD_ENDPOINTS:
            limit, key = self._passwords, f"passwords {request.remote_addr}"
        else:
            limit, key = self._overall, user_id or f"address {request.remote_addr}"
        budget = self._take(limit, key)
        if budget is not None:
            g.budget = budget
            if budget.remaining < 0:
                raise ServiceError("rate_limited")

    def _take(self, limit: RateLimitItem, key: str) -> Budget | None:
        if time.monotonic() < self._away_until:
            return None
        try:
            name = limit.key_for(key)
            count = self._storage.incr(name, limit.get_expiry())
            reset = self._storage.get_expiry(name)
        except StorageError as error:
            if not self._away_until:
                logger.warning(
                    "Rate limits are off, their storage is away: %s", error.storage_error
                )
            self._away_until = time.monotonic() + AWAY_SECONDS
            return None
        self._away_until = 0.0
        return Budget(limit.amount, limit.amount - count, math.ceil(reset))


def _storage(uri: str) -> Storage | _Memory:
    if uri.startswith("memory"):
        return _Memory()
    options: Any = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
    return cast(Storage, storage_from_string(uri, wrap_exceptions=True, **options))


def rate_limits() -> RateLimits:
    """Give the rate limits of the current application."""
    limits: RateLimits = current_app.extensions["rate_limits"]
    return limits


def add_headers(response: Response) -> None:
    """Show the state of the budget that the request was taken off, if it was off one."""
    budget: Budget | None = g.get("budget")
    if budget is None:
        return
    headers = response.headers
    headers["X-RateLimit-Limit"] = str(budget.limit)
    headers["X-RateLimit-Remaining"] = str(max(budget.remaining, 0))
    headers["X-RateLimit-Reset"] = str(budget.reset)
    if budget.remaining < 0:
        headers["Retry-After"] = str(max(int(budget.reset - time.time()), 1))
