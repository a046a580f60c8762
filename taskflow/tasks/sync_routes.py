"""The routes that a frontend syncs with: batch, changes, summary and restore."""

from typing import Any

from flask import Response, request

from taskflow import metrics
from taskflow.http.answers import compact_json, json_response, not_modified
from taskflow.http.context import components, request_context
from taskflow.tasks import batches, changes
from taskflow.tasks.headers import (
    collection_etag,
    etag,
    idempotency_key,
    is_known,
    known_change_number,
)
from taskflow.tasks.routes import (
    ETAG,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    REPLAYED,
    TASK_ID,
    blueprint,
)
from taskflow.tasks.schemas import TASK, TaskSchema
from taskflow.tasks.sync_schemas import (
    BATCH,
    CHANGES,
    SUMMARY,
    WRITTEN_BATCH,
    BatchSchema,
    ChangesQuerySchema,
    ChangesSchema,
    SummarySchema,
    WrittenBatchSchema,
)


@blueprint.route(
    "/batch",
    methods=["POST"],
    errors=(
        "task_not_found",
        "precondition_failed",
        "task_limit_exceeded",
        "idempotency_key_reused",
        "auth_revoked",
    ),
)
@blueprint.doc(headers=[IDEMPOTENCY_KEY])
@blueprint.arguments(BatchSchema, example=BATCH)
@blueprint.response(200, WrittenBatchSchema, example=WRITTEN_BATCH, headers=REPLAYED)
def write_batch(body: dict[str, Any]) -> Response:
    """Create, update and delete several tasks.

    Writes all items or none, 1 to 100 in all. `version` guards an item as `If-Match` guards a
    single request, and the error's `details` name the items that are refused.
    """
    limit = components().config.max_tasks_per_user
    key = idempotency_key(request, "batch")
    batch = batches.write_batch(request_context().caller, body, limit, key)
    response = json_response(
        f'{{"created":[{",".join(batch.created)}],"updated":[{",".join(batch.updated)}],'
        f'"deleted":{compact_json(batch.deleted)}}}'
    )
    if batch.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    else:
        metrics.tasks_created.inc(by=len(batch.created))
    return response


@blueprint.route("/changes", methods=["GET"], errors=("changes_expired", "auth_revoked"))
@blueprint.doc(headers=[IF_NONE_MATCH])
@blueprint.arguments(ChangesQuerySchema, location="query")
@blueprint.response(200, ChangesSchema, example=CHANGES, headers=ETAG)
@blueprint.alt_response(304, headers=ETAG)
def list_changes(query: dict[str, Any]) -> Response:
    """List changes.

    Apply each page as it comes, and send its `nextSince` as `since` the next time. Once `hasMore`
    is false, you have exactly the tasks that exist. Start without `since`, also after a 410.
    """
    caller = request_context().caller
    changed = changes.list_changes(
        caller,
        query.get("since"),
        query["limit"],
        components().config.jwt_secrets,
        known_change_number(request, caller.user_id),
    )
    tag = collection_etag(request, caller.user_id, changed.change_number)
    if is_known(request, tag):
        return not_modified(tag)
    rest = {
        "deleted": changed.deleted,
        "nextSince": changed.next_since,
        "hasMore": changed.has_more,
    }
    body = f'{{"changed":[{",".join(changed.changed)}],{compact_json(rest)[1:]}'
    return json_response(body, ETag=tag)


@blueprint.route("/summary", methods=["GET"], errors=("auth_revoked",))
@blueprint.doc(headers=[IF_NONE_MATCH])
@blueprint.response(200, SummarySchema, example=SUMMARY, headers=ETAG)
@blueprint.alt_response(304, headers=ETAG)
def get_summary() -> Response:
    """Count the tasks.

    Counts all tasks by status, priority and tag, and those that are overdue: due before now and
    not completed. A plain day ends at midnight in UTC.
    """
    limit, caller = components().config.max_tasks_per_user, request_context().caller
    number, overdue, text = changes.summarize_tasks(caller, limit)
    tag = collection_etag(request, caller.user_id, number, overdue, limit)
    return not_modified(tag) if is_known(request, tag) else json_response(text, ETag=tag)


@blueprint.route(
    "/<task_id>/restore",
    methods=["POST"],
    parameters=[TASK_ID],
    errors=("task_not_found", "task_limit_exceeded", "auth_revoked"),
)
@blueprint.response(200, TaskSchema, example={**TASK, "version": 3}, headers=ETAG)
def restore_task(task_id: str) -> Response:
    """Restore a deleted task.

    Works for 30 days after the task was deleted. The task is as it was, with a new version. A task
    that is not deleted is returned as it is.
    """
    limit = components().config.max_tasks_per_user
    version, text = changes.restore_task(request_context().caller, task_id, limit)
    return json_response(text, ETag=etag(version))
