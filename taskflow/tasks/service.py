"""The rules of tasks: what a create repeats, what an update may overwrite, where a page ends."""

import json
from datetime import date, datetime
from typing import Any, NamedTuple

from flask import current_app

from taskflow.errors import ServiceError
from taskflow.fields import end_of_day, is_uuid, start_of_day
from taskflow.pool import Row
from taskflow.tasks import queries
from taskflow.tasks.cursors import Position, decode_cursor, encode_cursor
from taskflow.tasks.headers import IdempotencyKey


class CreatedTask(NamedTuple):
    """A task that a create made, now or the first time."""

    task_id: str
    version: int
    json: str
    replayed: bool


class Page(NamedTuple):
    """A page of tasks, each as JSON, and the cursor of the next one."""

    tasks: list[str]
    next_cursor: str | None


def create_task(
    user_id: str, body: dict[str, Any], idempotency: IdempotencyKey | None
) -> CreatedTask:
    """Make a task, or give the one that this Idempotency-Key made before.

    Raises `ServiceError` `task_limit_exceeded`, `idempotency_key_reused`, `task_not_found` (the
    task of a repeat has been deleted) or `auth_revoked`.
    """
    values = _columns(body)
    limit = current_app.extensions["config"].max_tasks_per_user
    while True:
        try:
            row = queries.insert_task(user_id, values, limit, idempotency)
            break
        except ServiceError as error:
            if idempotency is None or error.code != "idempotency_key_reused":
                raise
        replay = _find_replay(user_id, idempotency)
        if replay is not None:
            return replay
        queries.delete_expired_key(user_id, idempotency.key)  # and try again, as others may
    if row is not None:
        task_id, version, text = row
        return CreatedTask(task_id, version, text, replayed=False)
    # No room; a repeat needs none.
    replay = idempotency and _find_replay(user_id, idempotency)
    if replay:
        return replay
    raise ServiceError("task_limit_exceeded" if queries.user_exists(user_id) else "auth_revoked")


def _find_replay(user_id: str, idempotency: IdempotencyKey) -> CreatedTask | None:
    found = queries.find_replay(user_id, idempotency.key)
    if found is None:
        return None
    body_digest, task_id, version, text = found
    if body_digest != idempotency.body_digest:
        raise ServiceError("idempotency_key_reused")
    if task_id is None:
        raise ServiceError("task_not_found")
    return CreatedTask(task_id, version, text, replayed=True)


def list_tasks(user_id: str, query: dict[str, Any]) -> Page:
    """Give a page of the user's tasks; raises `ServiceError` `validation_error` on `cursor`."""
    limit, sort, cursor = query.pop("limit"), query.pop("sort"), query.pop("cursor", None)
    filters = {name: _bound(value) for name, value in query.items()}
    listing = json.dumps([sort, sorted(filters.items())], default=str)
    after = decode_cursor(cursor, listing) if cursor else None
    rows = queries.list_tasks(user_id, sort, filters, after, limit + 1)
    next_cursor = None
    if len(rows) > limit:
        _, key, task_id = rows[limit - 1]
        next_cursor = encode_cursor(Position(key, task_id), listing)
    return Page([text for text, _, _ in rows[:limit]], next_cursor)


def get_task(user_id: str, task_id: str) -> Row:
    """Give a task's version and JSON; raises `ServiceError` `task_not_found`."""
    row = queries.find_task(user_id, task_id) if is_uuid(task_id) else None
    if row is None:
        raise ServiceError("task_not_found")
    return row


def update_task(
    user_id: str, task_id: str, body: dict[str, Any], versions: list[int] | None
) -> Row:
    """Change a task that is in one of these versions, and give its new version and JSON.

    Raises `ServiceError` `task_not_found` or `precondition_failed`.
    """
    row = None
    values = _columns(body)
    if not values:  # only read-only fields: nothing changes
        row = get_task(user_id, task_id)
        if versions is not None and row[0] not in versions:
            raise ServiceError("precondition_failed")
    elif is_uuid(task_id):
        row = queries.update_task(user_id, task_id, values, versions)
    if row is None:
        raise _why_not(user_id, task_id, versions)
    return row


def delete_task(user_id: str, task_id: str, versions: list[int] | None) -> None:
    """Delete a task that is in one of these versions.

    Raises `ServiceError` `task_not_found` or `precondition_failed`.
    """
    if not is_uuid(task_id) or not queries.delete_task(user_id, task_id, versions):
        raise _why_not(user_id, task_id, versions)


def _why_not(user_id: str, task_id: str, versions: list[int] | None) -> ServiceError:
    """Tell a task that is missing from one that is in another version."""
    if versions is not None:
        get_task(user_id, task_id)
        return ServiceError("precondition_failed")
    return ServiceError("task_not_found")


def _columns(body: dict[str, Any]) -> dict[str, Any]:
    """Turn a body into columns: a plain day is kept as its last microsecond in UTC."""
    values = dict(body)
    if "dueDate" in values:
        due = values.pop("dueDate")
        is_day = isinstance(due, date) and not isinstance(due, datetime)
        values["due_at"] = end_of_day(due) if is_day else due
        values["due_is_day"] = is_day
    return values


def _bound(value: Any) -> Any:
    """Turn a filter's value into SQL's and the cursor's: lists in order, a day as its begin."""
    if isinstance(value, list):
        return sorted(set(value))
    if isinstance(value, date) and not isinstance(value, datetime):
        return start_of_day(value)
    return value
