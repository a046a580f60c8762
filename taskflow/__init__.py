"""TaskFlow: accounts, sessions and tasks over PostgreSQL."""

from collections.abc import Iterable

from flask import Flask

from taskflow import auth, errors, health, hooks, metrics, tasks
from taskflow.config import Config
from taskflow.database import Database
from taskflow.http import cors, docs, openapi
from taskflow.http.addresses import ClientAddress
from taskflow.http.context import Components
from taskflow.http.routing import Blueprint, PathParameter
from taskflow.limits import RateLimits

BLUEPRINTS = (auth.blueprint, tasks.blueprint, health.blueprint, metrics.blueprint)


def create_app(config: Config, blueprints: Iterable[Blueprint] = BLUEPRINTS) -> Flask:
    """Create the WSGI application for a configuration; it opens no connection yet."""
    app = Flask("taskflow", static_folder=None)
    app.url_map.converters = {**app.url_map.converters, "default": PathParameter}
    app.url_map.merge_slashes = False  # `//` makes another path, never a redirect
    app.config.update(openapi.settings(config))
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
    # After-request functions run in reverse order. The one of the hooks logs, so it has to be last.
    hooks.init_app(app, config)
    if config.metrics_token:
        metrics.init_app(app, database)
    if config.cors_origins:
        cors.init_app(app, config.cors_origins)
    app.wsgi_app = ClientAddress(  # type: ignore[method-assign]
        app.wsgi_app, config.trusted_proxies
    )
    return app
