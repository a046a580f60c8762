"""Rate limits: a budget of requests for each user, and one of password checks for each address.

Budgets are counted in fixed windows, in memory or by the library `limits` in redis. If redis is
away, requests are let through: a limit protects the service and must not be what stops it.
"""

import logging
import math
import threading
import time
from typing import Any, Protocol, cast

from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from werkzeug.datastructures import Headers

from taskflow.config import Config
from taskflow.errors import ServiceError
from taskflow.http.addresses import network_of
from taskflow.http.context import Allowance, RequestContext
from taskflow.http.routing import BudgetName

logger = logging.getLogger(__name__)

AWAY_SECONDS = 5  # until a storage that failed is tried again
SWEEP_SECONDS = 60  # between two removals of expired windows
ROUNDING = 0.5  # seconds by which redis may round down the rest of a window
REDIS_SECONDS = 0.2  # longest wait for redis, so that it can't slow down requests


class Counters(Protocol):
    """Counters of the windows of a limit."""

    def hit(self, key: str, limit: RateLimitItem) -> tuple[int, float]:
        """Count a request and return the count and the end of the window (epoch seconds)."""


class MemoryCounters:
    """Counters of this process.

    Under load, the library's memory storage starts a thread every 10 ms. It costs 40 µs a request,
    and this class costs 2.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: dict[str, tuple[int, float]] = {}
        self._swept = 0.0

    def hit(self, key: str, limit: RateLimitItem) -> tuple[int, float]:
        """Count a request; see `Counters`."""
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
        """Count a request; raises `StorageError`."""
        name = limit.key_for(key)
        window = limit.get_expiry()
        count = self._storage.incr(name, window)
        end = self._storage.get_expiry(name) + ROUNDING
        return count, min(end, time.time() + window)


class RateLimits:
    """The budgets of every client."""

    def __init__(self, config: Config) -> None:
        uri = config.rate_limit_storage
        self._counters: Counters = (
            MemoryCounters() if uri.startswith("memory") else RedisCounters(uri)
        )
        self._limits = {
            "requests": parse(config.rate_limit),
            "passwords": parse(config.auth_rate_limit),
        }
        self._away_until = 0.0

    def spend(self, budget: BudgetName, context: RequestContext, address: str | None) -> None:
        """Count a request against its user's budget of requests, or against its address.

        Passwords are counted per address, because guesses come without a user. The /64 of an IPv6
        address is one client. Sets the context's allowance; raises `ServiceError` `rate_limited`.
        """
        address = network_of(address)
        if budget == "passwords":
            self._take(self._limits[budget], f"passwords {address}", context)
        else:
            self._take(self._limits[budget], context.user_id or f"address {address}", context)

    def _take(self, limit: RateLimitItem, key: str, context: RequestContext) -> None:
        if time.monotonic() < self._away_until:
            return
        try:
            count, end = self._counters.hit(key, limit)
        except StorageError as error:
            if not self._away_until:
                logger.warning(
                    "Rate limits are off: their storage can't be reached: %s", error.storage_error
                )
            self._away_until = time.monotonic() + AWAY_SECONDS
            return
        self._away_until = 0.0
        context.allowance = Allowance(limit.amount, limit.amount - count, end)
        if count > limit.amount:
            raise ServiceError("rate_limited")


def add_headers(headers: Headers, allowance: Allowance | None) -> None:
    """Add the X-RateLimit headers, and Retry-After if the budget is spent."""
    if allowance is None:
        return
    headers.add("X-RateLimit-Limit", allowance.limit)
    headers.add("X-RateLimit-Remaining", max(allowance.remaining, 0))
    headers.add("X-RateLimit-Reset", math.ceil(allowance.reset))
    if allowance.remaining < 0:
        headers.add("Retry-After", max(math.ceil(allowance.reset - time.time()), 1))
