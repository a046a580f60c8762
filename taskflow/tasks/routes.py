"""The routes of tasks."""

from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from taskflow import metrics
from taskflow.database import Row
from taskflow.http.answers import compact_json, json_response, no_content, not_modified
from taskflow.http.context import components, request_context
from taskflow.http.openapi.components import header_parameter, uuid_parameter
from taskflow.http.parsing import query_pairs
from taskflow.http.routing import Blueprint
from taskflow.tasks import service
from taskflow.tasks.headers import (
    collection_etag,
    etag,
    idempotency_key,
    if_match,
    is_known,
    known_change_number,
)
from taskflow.tasks.schemas import (
    NEW_TASK,
    PATCHED_TASK,
    TASK,
    TASK_PAGE,
    TASK_PATCH,
    TaskCreationSchema,
    TaskListQuerySchema,
    TaskPageSchema,
    TaskPatchSchema,
    TaskSchema,
)

blueprint = Blueprint("tasks", __name__, url_prefix="/api/v1/tasks", description="Tasks.")

ETAG = {"ETag": {"description": "The task's version.", "schema": {"type": "string"}}}
REPLAYED = {
    "Idempotency-Replayed": {
        "description": "`true` if an earlier request with the same key was answered.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
CREATED = {**ETAG, "Location": {"schema": {"type": "string"}}, **REPLAYED}
LINK = {"Link": {"description": 'The next page, `rel="next"`.', "schema": {"type": "string"}}}
_TAGS = r'^\s*(\*|(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*)\s*$'
IF_MATCH = header_parameter(
    "If-Match", "ETags or `*`. Changes the task only if it has one of them.", pattern=_TAGS
)
IF_NONE_MATCH = header_parameter(
    "If-None-Match", "ETags or `*`. Answers 304 if the task has one of them.", pattern=_TAGS
)
IDEMPOTENCY_KEY = header_parameter(
    "Idempotency-Key",
    "A repeat within 24 hours creates nothing and returns the task created the first time.",
    pattern="^[\\x21-\\x7e]{1,255}$",
)
TASK_ID = uuid_parameter("task_id", TASK["id"])
PATCH = {
    "schema": {"allOf": [TaskPatchSchema], "minProperties": 1},
    "example": TASK_PATCH,
}
PATCH_TYPES = {"content": {"application/json": PATCH, "application/merge-patch+json": PATCH}}


@blueprint.route("", methods=["GET"], errors=("auth_revoked",))
@blueprint.arguments(TaskListQuerySchema, location="query")
@blueprint.doc(headers=[IF_NONE_MATCH])
@blueprint.response(200, TaskPageSchema, example=TASK_PAGE, headers={**LINK, **ETAG})
@blueprint.alt_response(304, headers=ETAG)
def list_tasks(query: dict[str, Any]) -> Response:
    """List tasks.

    Returns a page. `nextCursor` and the `Link` header lead to the next one. Following them visits
    every task that existed all along exactly once. With `If-None-Match` the answer is 304 if none
    of your tasks has changed.
    """
    caller = request_context().caller
    known = known_change_number(request, caller.user_id)
    page = service.list_tasks(caller, query, components().config.jwt_secrets, known)
    tag = collection_etag(request, caller.user_id, page.change_number)
    if is_known(request, tag):
        return not_modified(tag)
    cursor = compact_json(page.next_cursor)
    body = f'{{"data":[{",".join(page.tasks)}],"nextCursor":{cursor}}}'
    response = json_response(body, ETag=tag)
    if page.next_cursor:
        kept = [(k, v) for k, v in query_pairs(request) if k != "cursor"]
        target = urlencode([*kept, ("cursor", page.next_cursor)])
        response.headers["Link"] = f'<{request.path}?{target}>; rel="next"'
    return response


@blueprint.route(
    "",
    methods=["POST"],
    errors=("task_limit_exceeded", "idempotency_key_reused", "task_not_found", "auth_revoked"),
)
@blueprint.doc(headers=[IDEMPOTENCY_KEY])
@blueprint.arguments(TaskCreationSchema, example=NEW_TASK)
@blueprint.response(201, TaskSchema, example=TASK, headers=CREATED)
def create_task(body: dict[str, Any]) -> Response:
    """Create a task.

    With an `Idempotency-Key`, repeating the same body returns the task created the first time, as
    it is now, or 404 if it has been deleted.
    """
    limit = components().config.max_tasks_per_user
    key = idempotency_key(request)
    task = service.create_task(request_context().caller, body, limit, key)
    location = f"{request.path}/{task.task_id}"
    response = json_response(task.json, 201, ETag=etag(task.version), Location=location)
    if task.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    else:
        metrics.tasks_created.inc()
    return response


@blueprint.route(
    "/<task_id>", methods=["GET"], parameters=[TASK_ID], errors=("task_not_found", "auth_revoked")
)
@blueprint.doc(headers=[IF_NONE_MATCH])
@blueprint.response(200, TaskSchema, example=TASK, headers=ETAG)
@blueprint.alt_response(304, headers=ETAG)
def get_task(task_id: str) -> Response:
    """Get a task.

    Send its `ETag` as `If-Match` when you change the task. Another user's task is a 404 too.
    """
    version, text = service.get_task(request_context().caller, task_id)
    if is_known(request, etag(version)):
        return not_modified(etag(version))
    return _task_response(version, text)


@blueprint.route(
    "/<task_id>",
    methods=["PUT"],
    parameters=[TASK_ID],
    errors=("task_not_found", "precondition_failed", "auth_revoked"),
)
@blueprint.doc(headers=[IF_MATCH], requestBody=PATCH_TYPES)
@blueprint.arguments(TaskPatchSchema)
@blueprint.response(200, TaskSchema, example=PATCHED_TASK, headers=ETAG)
def replace_task(body: dict[str, Any], task_id: str) -> Response:
    """Update a task with PUT.

    Does the same as PATCH, on purpose: fields that the body leaves out keep their values.
    """
    return _task_response(*_update(task_id, body))


@blueprint.route(
    "/<task_id>",
    methods=["PATCH"],
    parameters=[TASK_ID],
    errors=("task_not_found", "precondition_failed", "auth_revoked"),
)
@blueprint.doc(headers=[IF_MATCH], requestBody=PATCH_TYPES)
@blueprint.arguments(TaskPatchSchema)
@blueprint.response(200, TaskSchema, example=PATCHED_TASK, headers=ETAG)
def update_task(body: dict[str, Any], task_id: str) -> Response:
    """Update a task.

    Fields that the body leaves out keep their values, and null clears a field that may be null
    (JSON Merge Patch, RFC 7396). With `If-Match` the answer is 412 if the task has changed since,
    so that the update does not overwrite another change.
    """
    return _task_response(*_update(task_id, body))


@blueprint.route(
    "/<task_id>",
    methods=["DELETE"],
    parameters=[TASK_ID],
    errors=("task_not_found", "precondition_failed", "auth_revoked"),
)
@blueprint.doc(headers=[IF_MATCH])
@blueprint.response(204)
def delete_task(task_id: str) -> Response:
    """Delete a task.

    The task can be restored for 30 days. Deleting it again answers 404.
    """
    service.delete_task(request_context().caller, task_id, if_match(request))
    return no_content()


def _update(task_id: str, body: dict[str, Any]) -> Row:
    return service.update_task(request_context().caller, task_id, body, if_match(request))


def _task_response(version: int, text: str) -> Response:
    return json_response(text, ETag=etag(version))
