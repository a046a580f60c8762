"""The routes of tasks."""

from typing import Any
from urllib.parse import urlencode

from flask import Response, g, request

from taskflow.api import json_response, no_content
from taskflow.errors import compact_json
from taskflow.openapi import Blueprint, header_parameter, uuid_parameter
from taskflow.tasks import service
from taskflow.tasks.headers import etag, idempotency_key, if_match, if_none_match
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
CREATED = {
    **ETAG,
    "Location": {"schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "`true` where an earlier request made the task.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
LINK = {"Link": {"description": 'The next page, `rel="next"`.', "schema": {"type": "string"}}}


_TAGS = r'^\s*(\*|(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*)\s*$'
IF_MATCH = header_parameter(
    "If-Match", "ETags or `*`: change the task in no other version.", pattern=_TAGS
)
IF_NONE_MATCH = header_parameter(
    "If-None-Match", "ETags or `*`: 304 where the task has it.", pattern=_TAGS
)
IDEMPOTENCY_KEY = header_parameter(
    "Idempotency-Key",
    "A repeat within 24 hours makes nothing and gives the task made the first time.",
    pattern="^[\\x21-\\x7e]{1,255}$",
)
TASK_ID = uuid_parameter("task_id", TASK["id"])
PATCH = {
    "schema": {"allOf": [TaskPatchSchema], "minProperties": 1},
    "example": TASK_PATCH,
}
PATCH_TYPES = {"content": {"application/json": PATCH, "application/merge-patch+json": PATCH}}


@blueprint.route("", methods=["GET"])
@blueprint.arguments(TaskListQuerySchema, location="query")
@blueprint.response(200, TaskPageSchema, example=TASK_PAGE, headers=LINK)
def list_tasks(query: dict[str, Any]) -> Response:
    """List tasks.

    A page at a time: `nextCursor`, and `Link`, lead to the next one. Walking on meets every
    task that was there all along exactly once.
    """
    page = service.list_tasks(g.user_id, query)
    response = json_response(
        f'{{"data":[{",".join(page.tasks)}],"nextCursor":{compact_json(page.next_cursor)}}}'
    )
    if page.next_cursor:
        kept = [(k, v) for k, v in request.args.items(multi=True) if k != "cursor"]
        target = urlencode([*kept, ("cursor", page.next_cursor)])
        response.headers["Link"] = f'<{request.path}?{target}>; rel="next"'
    return response


@blueprint.route("", methods=["POST"])
@blueprint.errors("task_limit_exceeded", "idempotency_key_reused", "task_not_found", "auth_revoked")
@blueprint.doc(parameters=[IDEMPOTENCY_KEY])
@blueprint.arguments(TaskCreationSchema, example=NEW_TASK)
@blueprint.response(201, TaskSchema, example=TASK, headers=CREATED)
def create_task(body: dict[str, Any]) -> Response:
    """Create a task.

    With an `Idempotency-Key`, a repeat of the same body gives the task made the first time, as
    it now is, or 404 where it has been deleted since.
    """
    task = service.create_task(g.user_id, body, idempotency_key(request))
    response = json_response(
        task.json, 201, ETag=etag(task.version), Location=f"{request.path}/{task.task_id}"
    )
    if task.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


@blueprint.route("/<task_id>", methods=["GET"], parameters=[TASK_ID])
@blueprint.errors("task_not_found")
@blueprint.doc(parameters=[IF_NONE_MATCH])
@blueprint.response(200, TaskSchema, example=TASK, headers=ETAG)
@blueprint.alt_response(304, headers=ETAG)
def get_task(task_id: str) -> Response:
    """Get a task.

    Its `ETag` is what `If-Match` takes when the task is changed. Another user's task is a 404 too.
    """
    version, text = service.get_task(g.user_id, task_id)
    if if_none_match(request, version):
        return Response(status=304, headers={"ETag": etag(version)})
    return json_response(text, ETag=etag(version))


@blueprint.route("/<task_id>", methods=["PUT", "PATCH"], parameters=[TASK_ID])
@blueprint.errors("task_not_found", "precondition_failed")
@blueprint.doc(parameters=[IF_MATCH], requestBody=PATCH_TYPES)
@blueprint.arguments(TaskPatchSchema)
@blueprint.response(200, TaskSchema, example=PATCHED_TASK, headers=ETAG)
def update_task(body: dict[str, Any], task_id: str) -> Response:
    """Change a task.

    PUT and PATCH are one: what the body leaves out keeps its value, null clears a field that
    may be null (JSON Merge Patch, RFC 7396). With `If-Match`, nobody else's change is lost: 412
    where the task has changed since.
    """
    version, text = service.update_task(g.user_id, task_id, body, if_match(request))
    return json_response(text, ETag=etag(version))


@blueprint.route("/<task_id>", methods=["DELETE"], parameters=[TASK_ID])
@blueprint.errors("task_not_found", "precondition_failed")
@blueprint.doc(parameters=[IF_MATCH])
@blueprint.response(204)
def delete_task(task_id: str) -> Response:
    """Delete a task.

    For good; a second time is a 404.
    """
    service.delete_task(g.user_id, task_id, if_match(request))
    return no_content()
