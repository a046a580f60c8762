"""Health: whether the process answers, and whether the database does."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import Response, g
from marshmallow import Schema, fields

from taskflow.api import json_response
from taskflow.config import VERSION
from taskflow.db import database
from taskflow.errors import compact_json
from taskflow.openapi import Blueprint

logger = logging.getLogger(__name__)

blueprint = Blueprint(
    "health",
    __name__,
    database=False,
    limited=False,
    description="For load balancers and operators.",
)

DEGRADED_MS = 100
CHECK_SECONDS = 2
ANSWER_SECONDS = 2.5  # the promise is 3
_checker = ThreadPoolExecutor(1, "health")

# Fails unless every table is there.
CHECK = """
/* health */
SELECT 1
FROM users, sessions, refresh_tokens, tasks, idempotency_keys
LIMIT 0
"""


class LivenessSchema(Schema):
    """The process answers."""

    status = fields.String(required=True, metadata={"enum": ["healthy"]})


class DatabaseCheckSchema(Schema):
    """One check."""

    status = fields.String(required=True, metadata={"enum": ["healthy", "degraded", "unhealthy"]})
    latencyMs = fields.Float(required=True)


class HealthSchema(Schema):
    """The health of the service and of what it needs."""

    status = fields.String(required=True, metadata={"enum": ["healthy", "degraded", "unhealthy"]})
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


@blueprint.route("/health")
@blueprint.doc(security=[])
@blueprint.response(200, HealthSchema, example=_body("healthy", 0.8))
@blueprint.alt_response(503, schema=HealthSchema, example=_body("unhealthy", 2000.4))
def get_health() -> Response:
    """Say whether the service can serve.

    `degraded` where the database took more than 100 ms; 503 and `unhealthy` where it can't be
    reached or the schema is not in place.
    """
    started = time.perf_counter()
    try:
        # In a thread: libpq gives each host of the URL its time, and the answer is due.
        _checker.submit(database().query, CHECK, {}, CHECK_SECONDS).result(ANSWER_SECONDS)
        reached = True
    except Exception as error:  # whatever it is that keeps the database from answering
        reason = str(error.__cause__ or error).strip() or type(error).__name__
        logger.warning("Unhealthy: %s", reason)
        reached = False
    latency = round((time.perf_counter() - started) * 1000, 1)
    status = "unhealthy" if not reached else "degraded" if latency > DEGRADED_MS else "healthy"
    if status == "healthy":
        g.quiet = True
    return json_response(compact_json(_body(status, latency)), 200 if reached else 503)


@blueprint.route("/health/live")
@blueprint.doc(security=[])
@blueprint.response(200, LivenessSchema, example={"status": "healthy"})
def get_liveness() -> Response:
    """Say that the process answers.

    Without a look at the database: a restart would not help that.
    """
    g.quiet = True
    return json_response('{"status":"healthy"}')
