"""TaskFlow: accounts, sessions and tasks over PostgreSQL."""

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from taskflow import api, auth, errors, health, hooks, openapi, tasks
from taskflow.config import Config
from taskflow.db import Database


def create_app(config: Config) -> Flask:
    """Make the WSGI application for a configuration; it opens no connection yet."""
    app = Flask("taskflow", static_folder=None)
    app.url_map.merge_slashes = False  # another path is another path, never a redirect
    app.config.update(MAX_CONTENT_LENGTH=api.MAX_BODY + 1, **openapi.openapi_config())
    app.extensions.update(config=config, database=Database(config))
    auth.tokens.init_app(app, config)
    smorest = openapi.Api(app)
    for blueprint in (auth.blueprint, tasks.blueprint, health.blueprint):
        smorest.register_blueprint(blueprint)
    errors.init_app(app)
    hooks.init_app(app, config)
    if config.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=config.trusted_proxies, x_proto=0
        )
    return app
