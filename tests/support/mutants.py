"""The service with a fault that the checker has to find; the variable MUTANT names the fault."""

import io
import logging.config
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from taskflow import create_app
from taskflow.config import load_config_or_exit
from taskflow.logs import log_config
from taskflow.tasks import queries

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
STALE_SECONDS = 0.2


def read_stale(inner: Wsgi) -> Wsgi:
    """Answer reads of a task from a cache, with an answer that may be 0.2 seconds old."""
    cache: dict[str, tuple[float, list[Any], list[bytes]]] = {}

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "GET" or len(path) < 40:
            return inner(environ, start_response)
        if path not in cache or cache[path][0] < time.monotonic() - STALE_SECONDS:
            started: list[Any] = []
            body = list(inner(environ, lambda *args: started.extend(args[:2])))
            cache[path] = time.monotonic(), started, body
        _, started, body = cache[path]
        start_response(*started)
        return body

    return app


def create_twice(inner: Wsgi) -> Wsgi:
    """Create some tasks twice, as a repeat without a key would."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("POST", "/api/v1/tasks"):
            body = environ["wsgi.input"].read()
            again = {**environ, "wsgi.input": io.BytesIO(body)}
            again.pop("HTTP_IDEMPOTENCY_KEY")
            list(inner(again, lambda *_args: None))
            environ["wsgi.input"] = io.BytesIO(body)
        return inner(environ, start_response)

    return app


config = load_config_or_exit(production=True)
logging.config.dictConfig(log_config(config.log_level))
mutant = os.environ["MUTANT"]
if mutant == "limit off by one":
    config = replace(config, max_tasks_per_user=config.max_tasks_per_user + 1)
if mutant == "lost update":
    queries.IF_VERSION = ""
app = create_app(config)
if mutant == "stale read":
    app.wsgi_app = read_stale(app.wsgi_app)  # type: ignore[method-assign]
if mutant == "doubled create":
    app.wsgi_app = create_twice(app.wsgi_app)  # type: ignore[method-assign]
