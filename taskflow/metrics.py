"""Metrics in Prometheus's text format, summed over all worker processes.

Metrics are counted only if METRICS_TOKEN is set, in memory that the workers share (`figures.py`).
prometheus_client writes the text.
"""

import secrets
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from taskflow.auth.credentials import bearer_of
from taskflow.database import Database
from taskflow.errors import ServiceError
from taskflow.figures import Series, figures
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

QUERY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)


class Counter:
    """A number that only grows, for each combination of labels."""

    size = 1

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self.labels = name, text, labels
        FAMILIES.append(self)

    def inc(self, *labels: str, by: int = 1) -> None:
        """Increase the number by `by`."""
        figures.add(Series(self.name, labels), 1, (0, by))

    def collect(self, totals: dict[tuple[str, ...], list[float]]) -> Metric:
        """Return the family with its sums."""
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, [value] in totals.items():
            family.add_metric(labels, value)
        return family


class Gauge:
    """A number that goes up and down; the workers' numbers are added up."""

    labels, size = (), 1

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        FAMILIES.append(self)

    def set(self, value: float) -> None:
        """Set the number of this process."""
        figures.set(Series(self.name, is_gauge=True), value)

    def collect(self, totals: dict[tuple[str, ...], list[float]]) -> Metric:
        """Return the family with its sum."""
        [[value]] = totals.values()
        return GaugeMetricFamily(self.name, self.text, value)


class Histogram:
    """Durations, counted by buckets; the last cell of a series is their sum."""

    def __init__(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._buckets = buckets
        self._bounds = [*map(floatToGoString, buckets), "+Inf"]
        self.size = len(self._bounds) + 1
        FAMILIES.append(self)

    def observe(self, seconds: float, *labels: str) -> None:
        """Count a duration."""
        bucket = bisect_left(self._buckets, seconds)
        figures.add(Series(self.name, labels), self.size, (bucket, 1), (self.size - 1, seconds))

    def collect(self, totals: dict[tuple[str, ...], list[float]]) -> Metric:
        """Return the family with its sums."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for labels, (*counts, total) in totals.items():
            buckets = list(zip(self._bounds, accumulate(counts), strict=False))
            family.add_metric(labels, buckets, total)
        return family


FAMILIES: list[Counter | Gauge | Histogram] = []
requests = Counter(
    "taskflow_http_requests_total", "Requests answered.", "method", "route", "status"
)
duration = Histogram(
    "taskflow_http_request_duration_seconds", "Time to answer a request.", BUCKETS,
    "method", "route",
)  # fmt: skip
errors = Counter("taskflow_errors_total", "Errors answered, by code.", "code")
tasks_created = Counter("taskflow_tasks_created_total", "Tasks created.")
auth_failures = Counter(
    "taskflow_auth_failures_total", "Requests that failed to authenticate.", "reason"
)
pool_size = Gauge("taskflow_db_pool_size", "Open connections.")
pool_idle = Gauge("taskflow_db_pool_idle", "Idle connections.")
pool_waiting = Gauge("taskflow_db_pool_waiting", "Requests waiting for a connection.")
pool_acquire = Histogram(
    "taskflow_db_pool_acquire_seconds", "Time to get a connection from the pool.", BUCKETS
)
query_seconds = Histogram(
    "taskflow_db_query_seconds", "Time for a statement, by its name.", QUERY_BUCKETS, "statement"
)


class Collector:
    """The families of the service, for prometheus_client."""

    def collect(self) -> Iterator[Metric]:
        """Yield each family, summed over the processes."""
        totals = figures.totals()
        for family in FAMILIES:
            found = {s.labels: cells for s, cells in totals.items() if s.family == family.name}
            if not family.labels:
                found.setdefault((), [0.0] * family.size)
            yield family.collect(dict(sorted(found.items())))


@blueprint.route(
    "/metrics",
    methods=["GET"],
    public=True,  # the view checks its own bearer token
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
    registry = CollectorRegistry()
    registry.register(Collector())
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def count_request(response: Response) -> Response:
    """Count an answer under its route's pattern, so that there are few time series."""
    context = request_context()
    method = request.method if request.method in METHODS else "other"
    route = request.url_rule.rule if request.url_rule else "none"
    requests.inc(method, route, str(response.status_code))
    duration.observe(time.perf_counter() - context.started, method, route)
    if code := context.error_code:
        errors.inc(code)
        if code in AUTH_FAILURES:
            auth_failures.inc(code)
    publish_pool(components().database)
    return response


def publish_pool(database: Database) -> None:
    """Publish how the connection pool of this process is used."""
    size, idle, waiting = database.usage()
    pool_size.set(size)
    pool_idle.set(idle)
    pool_waiting.set(waiting)


def init_app(app: Flask, database: Database) -> None:
    """Make the application and its database report to the metrics."""
    app.after_request(count_request)
    database.on_acquire = pool_acquire.observe
    database.on_query = query_seconds.observe
