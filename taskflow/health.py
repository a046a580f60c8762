"""Health checks: whether the process answers, and whether the database does."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Response
from marshmallow import Schema, fields

from taskflow.config import VERSION
from taskflow.database.migrations import find_missing_migrations
from taskflow.errors import DatabaseRefusalError
from taskflow.http.answers import compact_json, json_response
from taskflow.http.context import components, request_context
from taskflow.http.fields import Choice
from taskflow.http.routing import Blueprint

logger = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__, description="For load balancers and operators.")

STATUSES = ("healthy", "degraded", "unhealthy")
DEGRADED_MS = 100
CHECK_SECONDS = 2
ANSWER_SECONDS = 2.5  # /health answers within 3 seconds
_checker = ThreadPoolExecutor(1, "health")


class LivenessSchema(Schema):
    """The process answers."""

    status = fields.String(required=True, metadata={"enum": ["healthy"]})


class DatabaseCheckSchema(Schema):
    """The result of one check."""

    status = Choice("HealthStatus", STATUSES, required=True)
    latencyMs = fields.Float(required=True)


class HealthSchema(Schema):
    """The health of the service and of what it depends on."""

    status = Choice("HealthStatus", STATUSES, required=True)
    version = fields.String(required=True)
    checks = fields.Dict(
        keys=fields.String(), values=fields.Nested(DatabaseCheckSchema), required=True
    )


def _body(status: str, latency: float) -> dict[str, Any]:
    return {
        "status": status,
        "version": VERSION,
        "checks": {"database": {"status": status, "latencyMs": latency}},
    }


@blueprint.route("/health", public=True, budget=None, database=False)
@blueprint.response(200, HealthSchema, example=_body("healthy", 0.8))
@blueprint.alt_response(503, schema=HealthSchema, example=_body("unhealthy", 2000.4))
def get_health() -> Response:
    """Check whether the service can serve.

    The status is `degraded` if the database took more than 100 ms. It is `unhealthy`, with 503,
    if the database can't be reached or lacks a migration.
    """
    started = time.perf_counter()
    is_healthy = _check_database()
    latency = round((time.perf_counter() - started) * 1000, 1)
    if not is_healthy:
        return json_response(compact_json(_body("unhealthy", latency)), 503)
    status = "degraded" if latency > DEGRADED_MS else "healthy"
    request_context().is_routine = status == "healthy"
    return json_response(compact_json(_body(status, latency)))


def _check_database() -> bool:
    try:
        # libpq's timeout is for each host of the URL, so a thread bounds the wait for all of them.
        check = _checker.submit(find_missing_migrations, components().database, CHECK_SECONDS)
        missing = check.result(ANSWER_SECONDS)
    except Exception as error:  # any failure means that the service can't serve
        level = logging.ERROR if isinstance(error, DatabaseRefusalError) else logging.WARNING
        logger.log(level, "Unhealthy: %s", _reason(error))
        return False
    if missing:
        logger.warning("Unhealthy: missing migrations: %s", ", ".join(missing))
    return not missing


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error).strip() or type(error).__name__


@blueprint.route("/health/live", public=True, budget=None, database=False)
@blueprint.response(200, LivenessSchema, example={"status": "healthy"})
def get_liveness() -> Response:
    """Check that the process answers.

    Does not ask the database, because restarting the process would not repair the database.
    """
    request_context().is_routine = True
    return json_response('{"status":"healthy"}')
