"""Before and after every request: correlation id, authentication, headers, the request line."""

import logging
import time
from functools import partial

from flask import Flask, Request, Response, g
from flask.globals import request_ctx

from taskflow.auth.credentials import authenticate
from taskflow.config import Config
from taskflow.errors import ServiceError
from taskflow.http.context import RequestContext, components, request_context
from taskflow.http.headers import CONTENT_SECURITY_POLICY, constant_headers
from taskflow.http.parsing import refuse_body, refuse_query
from taskflow.http.routing import declared
from taskflow.limits import add_headers
from taskflow.logs import correlation_id_of
from taskflow.shortcuts import log_request

logger = logging.getLogger("taskflow.request")

MAX_LOGGED_PATH = 1024  # characters


def before() -> None:
    """Start the request's context, authenticate, and enforce what the route declares."""
    request = request_ctx.request  # Flask's `request` would look the request up at each use
    context = g.request_context = RequestContext(correlation_id_of(request))
    # 404 and 405 have no endpoint and need no token; OPTIONS has no credentials (CORS).
    if request.endpoint is None or request.method == "OPTIONS":
        return
    route = declared(request)
    if not route.public:
        _authenticate(request, context)
    if route.budget:
        components().limits.spend(route.budget, context, request.remote_addr)
    if "query" not in route.takes:
        refuse_query(request)
    if "json" not in route.takes:
        refuse_body(request)


def _authenticate(request: Request, context: RequestContext) -> None:
    try:
        claims = authenticate(request)
    except ServiceError:
        # A client that guesses tokens spends the budget of its address.
        components().limits.spend("requests", context, request.remote_addr)
        raise
    context.user_id, context.session_id = claims.user_id, claims.session_id


def after(constant: dict[str, str], response: Response) -> Response:
    """Add the headers that every answer has, and log the request."""
    request, context, headers = request_ctx.request, request_context(), response.headers
    headers.add("X-Correlation-ID", context.correlation_id)
    for name, value in constant.items():
        headers.add(name, value)
    if "Content-Security-Policy" not in headers:
        headers.add("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    if "Cache-Control" not in headers:
        is_task = request.path.startswith("/api/v1/tasks")
        headers.add("Cache-Control", "private, no-cache" if is_task else "no-store")
    add_headers(headers, context.allowance)
    _log_request(request, context, response.status_code)
    return response


def _vary_by_origin(response: Response) -> Response:
    response.vary.add("Origin")  # a cache must not serve one origin's answer to another
    return response


def _log_request(request: Request, context: RequestContext, status: int) -> None:
    level = logging.ERROR if status >= 500 else logging.INFO
    if context.is_routine:
        level = logging.DEBUG
    path = request.path[:MAX_LOGGED_PATH]
    fields = {
        "method": request.method,
        "path": path,
        "route": request.url_rule.rule if request.url_rule else None,
        "status": status,
        "durationMs": round((time.perf_counter() - context.started) * 1000, 3),
        "userId": context.user_id or None,
        "remoteAddr": request.remote_addr,
        "correlationId": context.correlation_id,
    }
    if context.error_code:
        fields["errorCode"] = context.error_code
    log_request(logger, level, f"{request.method} {path} {status}", fields)


def init_app(app: Flask, config: Config) -> None:
    """Register the hooks."""
    app.before_request(before)
    app.after_request(partial(after, constant_headers(config)))
    if config.cors_origins:
        app.after_request(_vary_by_origin)
