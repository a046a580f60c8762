"""The rules of tasks: idempotent creation, guarded updates, paging."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from taskflow.database import Row
from taskflow.errors import ServiceError
from taskflow.http.fields import end_of_day, is_uuid, start_of_day
from taskflow.tasks import queries
from taskflow.tasks.cursors import Position, decode_cursor, encode_cursor
from taskflow.tasks.headers import IdempotencyKey


class CreatedTask(NamedTuple):
    """A task that was created now, or by an earlier request with the same key."""

    task_id: str
    version: int
    json: str
    replayed: bool


class Page(NamedTuple):
    """A page of tasks, each as JSON, and the cursor of the next page."""

    tasks: list[str]
    next_cursor: str | None


def create_task(
    user_id: str, body: dict[str, Any], limit: int, idempotency: IdempotencyKey | None
) -> CreatedTask:
    """Create a task, or return the one that this Idempotency-Key created before.

    `limit` is how many tasks the user may have. Raises `ServiceError` `task_limit_exceeded`,
    `idempotency_key_reused`, `task_not_found` (the task of a repeat has been deleted) or
    `auth_revoked`.
    """
    values = _columns(body)
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
        queries.delete_expired_key(user_id, idempotency.key)  # and try again
    if row is not None:
        task_id, version, text = row
        return CreatedTask(task_id, version, text, replayed=False)
    # The user is at the limit, but a repeat creates nothing.
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


def list_tasks(user_id: str, query: dict[str, Any], secrets: Sequence[str]) -> Page:
    """Return a page of the user's tasks.

    `secrets` sign the cursors, the first of them new ones. Raises `ServiceError`
    `validation_error` on `cursor`.
    """
    limit, sort, cursor = query["limit"], query["sort"], query.get("cursor")
    filters = {name: _bound(query[name]) for name in queries.FILTERS if name in query}
    listing = json.dumps([sort, sorted(filters.items())], default=str)
    after = decode_cursor(cursor, listing, secrets) if cursor else None
    rows = queries.list_tasks(user_id, sort, filters, after, limit + 1)
    next_cursor = None
    if len(rows) > limit:
        _, key, task_id = rows[limit - 1]
        next_cursor = encode_cursor(Position(key, task_id), listing, secrets[0])
    return Page([text for text, _, _ in rows[:limit]], next_cursor)


def get_task(user_id: str, task_id: str) -> Row:
    """Return a task's version and JSON; raises `ServiceError` `task_not_found`."""
    row = queries.find_task(user_id, task_id) if is_uuid(task_id) else None
    if row is None:
        raise ServiceError("task_not_found")
    return row


def update_task(
    user_id: str, task_id: str, body: dict[str, Any], versions: list[int] | None
) -> Row:
    """Update a task that is in one of these versions and return its new version and JSON.

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
        raise _refusal(user_id, task_id, versions)
    return row


def delete_task(user_id: str, task_id: str, versions: list[int] | None) -> None:
    """Delete a task that is in one of these versions.

    Raises `ServiceError` `task_not_found` or `precondition_failed`.
    """
    if not is_uuid(task_id) or not queries.delete_task(user_id, task_id, versions):
        raise _refusal(user_id, task_id, versions)


def _refusal(user_id: str, task_id: str, versions: list[int] | None) -> ServiceError:
    """Return the error for a task that is missing, or that has another version."""
    if versions is not None:
        get_task(user_id, task_id)
        return ServiceError("precondition_failed")
    return ServiceError("task_not_found")


def _columns(body: dict[str, Any]) -> dict[str, Any]:
    """Turn a body into columns; a plain day is stored as its last microsecond in UTC."""
    values = dict(body)
    if "dueDate" in values:
        due = values.pop("dueDate")
        is_day = isinstance(due, date) and not isinstance(due, datetime)
        values["due_at"] = end_of_day(due) if is_day else due
        values["due_is_day"] = is_day
    return values


def _bound(value: Any) -> Any:
    """Return a filter's value for SQL and the cursor: lists sorted, a day as its beginning."""
    if isinstance(value, list):
        return sorted(set(value))
    if isinstance(value, date) and not isinstance(value, datetime):
        return start_of_day(value)
    return value
