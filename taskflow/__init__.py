"""TaskFlow: accounts, sessions and tasks over PostgreSQL."""

from collections.abc import Iterable

from flask import Flask
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from taskflow import auth, errors, health, hooks, metrics, tasks
from taskflow.config import Config
from taskflow.database import Database
from taskflow.http import docs, openapi
from taskflow.http.context import Components
from taskflow.http.routing import Blueprint, PathParameter
from taskflow.limits import RateLimits

BLUEPRINTS = (auth.blueprint, tasks.blueprint, health.blueprint, metrics.blueprint)

# Headers that a page on another origin may read (Fetch standard, CORS protocol).
EXPOSED_HEADERS = (
    "ETag", "Link", "Location", "Retry-After", "X-Correlation-ID", "Idempotency-Replayed",
    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
)  # fmt: skip
CORS_MAX_AGE = 600  # seconds that a browser may reuse a preflight's answer


def create_app(config: Config, blueprints: Iterable[Blueprint] = BLUEPRINTS) -> Flask:
    """Create the WSGI application for a configuration; it opens no connection yet."""
    app = Flask("taskflow", static_folder=None)
    app.url_map.converters = {**app.url_map.converters, "default": PathParameter}
    app.url_map.merge_slashes = False  # another path is another path, never a redirect
    app.config.update(openapi.settings())
    database = Database(config)
    app.extensions["taskflow"] = Components(
        config=config,
        database=database,
        limits=RateLimits(config),
        tokens=auth.tokens.init_app(app, config),
    )
    document = openapi.register(app, blueprints)
    app.register_blueprint(docs.create_blueprint(document))
    errors.init_app(app)
    # After-request functions run in reverse order, so that the hooks' own, which logs, is last.
    hooks.init_app(app, config)
    if config.metrics_token:
        metrics.init_app(app, database)
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
