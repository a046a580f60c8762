"""Before and after every request: correlation id, who is asking, headers, the request line.

Every route is protected unless it is on the one list below.
"""

import logging
import time
from functools import partial
from typing import Any

from flask import Flask, Request, Response, g, request

from taskflow import api, logs
from taskflow.auth import tokens
from taskflow.config import Config
from taskflow.errors import ServiceError
from taskflow.limits import add_headers, rate_limits

logger = logging.getLogger("taskflow.request")

PUBLIC = frozenset(
    {
        "api-docs.openapi_json",
        "auth.login",
        "auth.logout",  # looks for its token itself
        "auth.refresh",  # looks for its token itself
        "auth.register",
        "docs.get_asset",
        "docs.get_page",
        "docs.get_script",
        "health.get_health",
        "health.get_liveness",
        "metrics.get_metrics",  # has a bearer of its own
    }
)
UNLIMITED = frozenset({"health.get_health", "health.get_liveness"})
# What is no page loads nothing and is framed by nobody; the one page has a policy of its own.
POLICY = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
TAKES_QUERY = frozenset({"tasks.list_tasks"})
TAKES_BODY = frozenset(
    {
        "auth.change_password",
        "auth.delete_account",
        "auth.login",
        "auth.register",
        "tasks.create_task",
        "tasks.update_task",
    }
)


def _current() -> tuple[Request, Any]:
    """Give request and `g` themselves: a proxy looks for its object again at each word."""
    return request._get_current_object(), g._get_current_object()  # type: ignore[attr-defined]


def before() -> None:
    """Name the request, find out who is asking, and refuse input that no route declared."""
    current, store = _current()
    store.started = time.perf_counter()
    store.correlation_id = logs.correlation_id_of(current)
    endpoint = current.endpoint
    # No endpoint: 404 or 405, for strangers too. OPTIONS carries no credentials (CORS).
    if endpoint is None or current.method == "OPTIONS":
        return
    limits = rate_limits()
    user_id = None
    if endpoint not in PUBLIC:
        try:
            claims = tokens.authenticate(current)
        except ServiceError:
            limits.spend_of_stranger(current)  # who guesses tokens, perhaps
            raise
        user_id = store.user_id = claims.user_id
        store.session_id = claims.session_id
    if endpoint not in UNLIMITED:
        limits.spend(current, user_id)
    if endpoint not in TAKES_QUERY:
        api.refuse_query(current)
    if endpoint not in TAKES_BODY:
        api.refuse_body(current)


def after(constant: list[tuple[str, str]], response: Response) -> Response:
    """Add the headers that every answer has, and write the request line."""
    current, store = _current()
    headers = response.headers
    headers.add("X-Correlation-ID", store.correlation_id)
    for name, value in constant:
        headers.add(name, value)
    if "Content-Security-Policy" not in headers:
        headers.add("Content-Security-Policy", POLICY)
    if "Cache-Control" not in headers:
        tasks = current.path.startswith("/api/v1/tasks")
        headers.add("Cache-Control", "private, no-cache" if tasks else "no-store")
    add_headers(headers, store.get("budget"))
    _log_request(current, store, response.status_code)
    return response


def _vary_by_origin(response: Response) -> Response:
    response.vary.add("Origin")  # a cache must not give one origin's answer to another
    return response


def _log_request(current: Request, store: Any, status: int) -> None:
    level = logging.ERROR if status >= 500 else logging.INFO
    if "quiet" in store:  # said by who found all well
        level = logging.DEBUG
    if not logger.isEnabledFor(level):
        return
    logs.write_line(
        level,
        logger.name,
        f"{current.method} {current.path} {status}",
        store.correlation_id,
        method=current.method,
        path=current.path,
        route=current.url_rule.rule if current.url_rule else None,
        status=status,
        durationMs=round((time.perf_counter() - store.started) * 1000, 3),
        userId=store.get("user_id"),
        remoteAddr=current.remote_addr,
    )


def init_app(app: Flask, config: Config) -> None:
    """Register the hooks."""
    constant = [("X-Content-Type-Options", "nosniff")]
    if config.production:
        constant.append(("Strict-Transport-Security", "max-age=31536000"))
    app.before_request(before)
    app.after_request(partial(after, constant))
    if config.cors_origins:
        app.after_request(_vary_by_origin)
