"""Metrics in Prometheus's text format, true across worker processes.

They are counted only where METRICS_TOKEN is set. In several processes, prometheus_client keeps
them in files (PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py sets before this is imported).
"""

import os
import secrets
import time

from flask import Flask, Response, current_app, g, request
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

from taskflow.auth import tokens
from taskflow.db import Database
from taskflow.errors import ServiceError
from taskflow.openapi import Blueprint

blueprint = Blueprint("metrics", __name__, database=False, description="For Prometheus.")

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
    "Time from the request to its answer.",
    ["method", "route"],
    buckets=BUCKETS,
)
errors = Counter("taskflow_errors_total", "Errors answered, by code.", ["code"])
tasks_created = Counter("taskflow_tasks_created_total", "Tasks created.")
auth_failures = Counter(
    "taskflow_auth_failures_total", "Requests that did not prove who asks.", ["reason"]
)
pool_size = Gauge("taskflow_db_pool_size", "Open connections.", multiprocess_mode="livesum")
pool_idle = Gauge("taskflow_db_pool_idle", "Idle connections.", multiprocess_mode="livesum")
pool_waiting = Gauge(
    "taskflow_db_pool_waiting", "Requests that wait for one.", multiprocess_mode="livesum"
)
pool_acquire = Histogram(
    "taskflow_db_pool_acquire_seconds", "Time to get a connection.", buckets=BUCKETS
)


@blueprint.route("/metrics", methods=["GET"])
@blueprint.errors("not_found", "auth_missing", "auth_invalid")
@blueprint.doc(security=[{"metricsAuth": []}])
@blueprint.response(200, {"type": "string"}, content_type="text/plain", example=EXAMPLE)
def get_metrics() -> Response:
    """Get the metrics.

    For the bearer METRICS_TOKEN only; 404 where that is not set.
    """
    token = current_app.extensions["config"].metrics_token
    if token is None:
        raise ServiceError("not_found")
    bearer = tokens.bearer_of(request)
    if bearer is None:
        raise ServiceError("auth_missing")
    if not secrets.compare_digest(bearer.encode(), token.encode()):
        raise ServiceError("auth_invalid")
    publish_pool()
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def count(response: Response) -> Response:
    """Count an answer; a route stands for all its ids, so that the series stay few."""
    method = request.method if request.method in METHODS else "other"
    route = request.url_rule.rule if request.url_rule else "none"
    requests.labels(method, route, str(response.status_code)).inc()
    duration.labels(method, route).observe(time.perf_counter() - g.started)
    code = g.get("error_code")
    if code:
        errors.labels(code).inc()
        if code in AUTH_FAILURES:
            auth_failures.labels(code).inc()
    elif request.endpoint == "tasks.create_task" and "Idempotency-Replayed" not in response.headers:
        tasks_created.inc()
    publish_pool()
    return response


def publish_pool() -> None:
    """Show how the pool of this process is used."""
    database: Database = current_app.extensions["database"]
    size, idle, waiting = database.usage()
    pool_size.set(size)
    pool_idle.set(idle)
    pool_waiting.set(waiting)


def init_app(app: Flask) -> None:
    """Begin to count."""
    app.after_request(count)
    app.extensions["database"].on_acquire = pool_acquire.observe
