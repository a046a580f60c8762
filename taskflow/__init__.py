"""TaskFlow: accounts, sessions and tasks over PostgreSQL."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import MapAdapter

from taskflow import auth, docs, errors, health, hooks, metrics, openapi, tasks
from taskflow.config import Config
from taskflow.db import Database
from taskflow.limits import RateLimits

# What a page on another origin may read of an answer (Fetch standard, CORS protocol).
EXPOSED_HEADERS = (
    "ETag", "Link", "Location", "Retry-After", "X-Correlation-ID", "Idempotency-Replayed",
    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
)  # fmt: skip
CORS_MAX_AGE = 600  # seconds that a browser remembers a preflight's answer


class Application(Flask):
    """Flask without two questions that have one answer here."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Give the function as it is: none is a coroutine."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Give what finds a request's route: on every host the same."""
        if request is None:
            return super().create_url_adapter(request)
        return self.url_map.bind("", path_info=request.path, default_method=request.method)


def create_app(config: Config) -> Flask:
    """Make the WSGI application for a configuration; it opens no connection yet."""
    app = Application("taskflow", static_folder=None)
    app.url_map.merge_slashes = False  # another path is another path, never a redirect
    app.config.update(openapi.openapi_config())
    app.extensions.update(config=config, database=Database(config), rate_limits=RateLimits(config))
    auth.tokens.init_app(app, config)
    smorest = openapi.Api(app)
    for blueprint in (auth.blueprint, tasks.blueprint, health.blueprint, metrics.blueprint):
        smorest.register_blueprint(blueprint)
    app.register_blueprint(docs.blueprint)
    errors.init_app(app)
    # After-request functions run in the opposite order: the hooks' last one writes the log line.
    hooks.init_app(app, config)
    if config.metrics_token:
        metrics.init_app(app)
    if config.cors_origins:
        CORS(
            app,
            origins=config.cors_origins,
            supports_credentials=True,
            expose_headers=EXPOSED_HEADERS,
            max_age=CORS_MAX_AGE,
        )
    if config.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=config.trusted_proxies, x_proto=0
        )
    return app
