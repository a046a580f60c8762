"""Metrics in Prometheus's text format, correct across worker processes.

They are counted only if METRICS_TOKEN is set. For several processes, prometheus_client keeps them
in files (PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py sets before this is imported).
"""

import os
import secrets
import time

from flask import Flask, Response, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from taskflow.auth.credentials import bearer_of
from taskflow.database import Database
from taskflow.errors import ServiceError
from taskflow.http.context import components, request_context
from taskflow.http.routing import Blueprint

blueprint = Blueprint("metrics", __name__, description="For Prometheus.")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
AUTH_FAILURES = frozenset(
    {"auth_missing", "auth_invalid", "auth_expired", "auth_revoked", "invalid_credentials",
     "csrf_failed"}
)  # fmt: skip
EXAMPLE = """# HELP taskflow_tasks_created_total Tasks created.
# TYPE taskflow_tasks_created_total counter
taskflow_tasks_created_total 3.0
"""
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

requests = Counter(
    "taskflow_http_requests_total", "Requests answered.", ["method", "route", "status"]
)
duration = Histogram(
    "taskflow_http_request_duration_seconds",
    "Time to answer a request.",
    ["method", "route"],
    buckets=BUCKETS,
)
errors = Counter("taskflow_errors_total", "Errors answered, by code.", ["code"])
tasks_created = Counter("taskflow_tasks_created_total", "Tasks created.")
auth_failures = Counter(
    "taskflow_auth_failures_total", "Requests that failed to authenticate.", ["reason"]
)
pool_size = Gauge("taskflow_db_pool_size", "Open connections.", multiprocess_mode="livesum")
pool_idle = Gauge("taskflow_db_pool_idle", "Idle connections.", multiprocess_mode="livesum")
pool_waiting = Gauge(
    "taskflow_db_pool_waiting", "Requests waiting for a connection.", multiprocess_mode="livesum"
)
pool_acquire = Histogram(
    "taskflow_db_pool_acquire_seconds", "Time to get a connection from the pool.", buckets=BUCKETS
)


@blueprint.route(
    "/metrics",
    methods=["GET"],
    public=True,  # it has a bearer of its own
    database=False,
    errors=("not_found", "auth_missing", "auth_invalid"),
)
@blueprint.doc(security=[{"metricsAuth": []}])
@blueprint.response(200, {"type": "string"}, content_type="text/plain", example=EXAMPLE)
def get_metrics() -> Response:
    """Get the metrics.

    Needs METRICS_TOKEN as the bearer. Answers 404 if that variable is not set.
    """
    parts = components()
    token = parts.config.metrics_token
    if token is None:
        raise ServiceError("not_found")
    bearer = bearer_of(request)
    if bearer is None:
        raise ServiceError("auth_missing")
    if not secrets.compare_digest(bearer.encode(), token.encode()):
        raise ServiceError("auth_invalid")
    publish_pool(parts.database)
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def count_request(response: Response) -> Response:
    """Count an answer under its route's pattern, so that there are few time series."""
    context = request_context()
    method = request.method if request.method in METHODS else "other"
    route = request.url_rule.rule if request.url_rule else "none"
    requests.labels(method, route, str(response.status_code)).inc()
    duration.labels(method, route).observe(time.perf_counter() - context.started)
    if code := context.error_code:
        errors.labels(code).inc()
        if code in AUTH_FAILURES:
            auth_failures.labels(code).inc()
    publish_pool(components().database)
    return response


def publish_pool(database: Database) -> None:
    """Publish how the connection pool of this process is used."""
    size, idle, waiting = database.usage()
    pool_size.set(size)
    pool_idle.set(idle)
    pool_waiting.set(waiting)


def init_app(app: Flask, database: Database) -> None:
    """Start counting."""
    app.after_request(count_request)
    database.on_acquire = pool_acquire.observe
