"""Rate limits: a budget of requests for each user, and one of password checks for each address.

In fixed windows, counted in memory, or in redis by the library `limits`. Where redis is away,
requests are let through: a limit protects the service, it must not be what stops it.
"""

import logging
import math
import threading
import time
from typing import Any, NamedTuple, Protocol, cast

from flask import Request, current_app, g
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from werkzeug.datastructures import Headers

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


class Counters(Protocol):
    """Counts what happens in the windows of a limit."""

    def hit(self, key: str, limit: RateLimitItem) -> tuple[int, float]:
        """Count one more; give the count, and when its window ends (epoch seconds)."""


class MemoryCounters:
    """Counters of this process.

    The library's own start a thread every 10 ms under load: 40 µs a request, against 2.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, float]] = {}
        self._swept = 0.0

    def hit(self, key: str, limit: RateLimitItem) -> tuple[int, float]:
        """Count one more."""
        now = time.time()
        with self._lock:
            if now > self._swept + SWEEP_SECONDS:
                self._swept = now
                self._windows = {k: w for k, w in self._windows.items() if w[1] > now}
            count, end = self._windows.get(key, (0, 0.0))
            if end <= now:
                count, end = 0, now + limit.get_expiry()
            window = self._windows[key] = (count + 1, end)
        return window


class RedisCounters:
    """Counters that several processes share."""

    def __init__(self, uri: str) -> None:
        options: Any = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
        self._storage = cast(Storage, storage_from_string(uri, wrap_exceptions=True, **options))

    def hit(self, key: str, limit: RateLimitItem) -> tuple[int, float]:
        """Count one more; raises `StorageError`."""
        name = limit.key_for(key)
        return self._storage.incr(name, limit.get_expiry()), self._storage.get_expiry(name)


class RateLimits:
    """The two budgets of every client."""

    def __init__(self, config: Config) -> None:
        uri = config.rate_limit_storage
        self._counters: Counters = (
            MemoryCounters() if uri.startswith("memory") else RedisCounters(uri)
        )
        self._overall = parse(config.rate_limit)
        self._passwords = parse(config.auth_rate_limit)
        self._away_until = 0.0

    def spend(self, request: Request, user_id: str | None) -> None:
        """Take a request off its budget, whose state the answer then shows.

        Raises `ServiceError` `rate_limited`.
        """
        if request.endpoint in PASSWORD_ENDPOINTS:
            self._take(self._passwords, f"passwords {request.remote_addr}")
        else:
            self._take(self._overall, user_id or f"address {request.remote_addr}")

    def spend_of_stranger(self, request: Request) -> None:
        """Take a request that proved nothing off its address's budget; raises as `spend` does."""
        self._take(self._overall, f"address {request.remote_addr}")

    def _take(self, limit: RateLimitItem, key: str) -> None:
        if time.monotonic() < self._away_until:
            return
        try:
            count, end = self._counters.hit(key, limit)
        except StorageError as error:
            if not self._away_until:
                logger.warning(
                    "Rate limits are off, their storage is away: %s", error.storage_error
                )
            self._away_until = time.monotonic() + AWAY_SECONDS
            return
        self._away_until = 0.0
        g.budget = Budget(limit.amount, limit.amount - count, math.ceil(end))
        if count > limit.amount:
            raise ServiceError("rate_limited")


def rate_limits() -> RateLimits:
    """Give the rate limits of the current application."""
    limits: RateLimits = current_app.extensions["rate_limits"]
    return limits


def add_headers(headers: Headers, budget: Budget | None) -> None:
    """Show the state of the budget that the request was taken off, if it was off one."""
    if budget is None:
        return
    headers.add("X-RateLimit-Limit", budget.limit)
    headers.add("X-RateLimit-Remaining", max(budget.remaining, 0))
    headers.add("X-RateLimit-Reset", budget.reset)
    if budget.remaining < 0:
        headers.add("Retry-After", max(int(budget.reset - time.time()), 1))
