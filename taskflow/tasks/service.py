"""The rules of tasks: idempotent creation, guarded updates, paging."""

import json
import unicodedata
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from taskflow.database import Row
from taskflow.errors import ServiceError
from taskflow.http.context import Caller
from taskflow.http.fields import end_of_day, is_uuid, start_of_day
from taskflow.ids import new_id
from taskflow.tasks import queries
from taskflow.tasks.cursors import Position, decode_cursor, encode_cursor
from taskflow.tasks.headers import IdempotencyKey
from taskflow.tasks.sql import FILTERS
from taskflow.tasks.words import search_patterns, stored_words

# json.dumps() would make a new encoder for every list.
_encode = json.JSONEncoder(default=str).encode


class CreatedTask(NamedTuple):
    """A task that was created now, or by an earlier request with the same key."""

    task_id: str
    version: int
    json: str
    replayed: bool


class Page(NamedTuple):
    """A page of tasks, each as JSON, the cursor of the next page, and the user's change number."""

    tasks: list[str]
    next_cursor: str | None
    change_number: int


def create_task(
    caller: Caller, body: dict[str, Any], limit: int, idempotency: IdempotencyKey | None
) -> CreatedTask:
    """Create a task, or return the one that this Idempotency-Key created before.

    `limit` is how many tasks the user may have. Raises `ServiceError` `task_limit_exceeded`,
    `idempotency_key_reused`, `task_not_found` (the task of a repeat has been deleted) or
    `auth_revoked`.
    """
    values = columns_of(body)
    while True:
        task_id = new_id()
        try:
            row = queries.insert_task(caller, task_id, values, limit, idempotency)
            break
        except ServiceError as error:
            if idempotency is None or error.code != "idempotency_key_reused":
                raise
        replay = _find_replay(caller, idempotency)
        if replay is not None:
            return replay
        queries.delete_expired_key(caller.user_id, idempotency.key)  # and try again
    if row is not None:
        version, text = row
        return CreatedTask(task_id, version, text, replayed=False)
    is_live, _ = queries.find_refusal(caller)
    if not is_live:
        raise ServiceError("auth_revoked")
    # The user is at the limit, but a repeat creates nothing.
    replay = idempotency and _find_replay(caller, idempotency)
    if replay:
        return replay
    raise ServiceError("task_limit_exceeded")


def _find_replay(caller: Caller, idempotency: IdempotencyKey) -> CreatedTask | None:
    found = queries.find_replay(caller.user_id, idempotency.key)
    if found is None:
        return None
    body_digest, task_id, version, text = found
    if body_digest != idempotency.body_digest:
        raise ServiceError("idempotency_key_reused")
    if task_id is None:
        raise ServiceError("task_not_found")
    return CreatedTask(task_id, version, text, replayed=True)


def list_tasks(
    caller: Caller, query: dict[str, Any], secrets: Sequence[str], known: int | None = None
) -> Page:
    """Return a page of the user's tasks, which is empty if the change number is `known`.

    A cursor may be signed with any of the `secrets`; a new one is signed with the first. Raises
    `ServiceError` `validation_error` on `cursor`, or `auth_revoked`.
    """
    limit, sort, cursor = query["limit"], query["sort"], query.get("cursor")
    filters = {name: _bound(name, query[name]) for name in FILTERS if name in query}
    listing = _encode([sort, sorted(filters.items())])
    after = decode_cursor(cursor, listing, secrets) if cursor else None
    rows = queries.list_tasks(caller, sort, filters, after, limit + 1, known)
    if not rows:
        raise ServiceError("auth_revoked")
    next_cursor = None
    if len(rows) > limit:
        _, _, key, task_id = rows[limit - 1]
        next_cursor = encode_cursor(Position(key, task_id), listing, secrets[0])
    tasks = [text for _, text, _, _ in rows[:limit] if text is not None]
    return Page(tasks, next_cursor, rows[0][0])


def get_task(caller: Caller, task_id: str) -> Row:
    """Return a task's version and JSON; raises `ServiceError` `task_not_found`, `auth_revoked`."""
    row = queries.find_task(caller, task_id) if is_uuid(task_id) else None
    if row is None:
        raise _refusal(caller, task_id, None)
    return row


def update_task(
    caller: Caller, task_id: str, body: dict[str, Any], versions: list[int] | None
) -> Row:
    """Update a task that is in one of these versions and return its new version and JSON.

    Raises `ServiceError` `task_not_found`, `precondition_failed` or `auth_revoked`.
    """
    row = None
    values = columns_of(body)
    if not values:  # only read-only fields: nothing changes
        row = get_task(caller, task_id)
        if versions is not None and row[0] not in versions:
            raise ServiceError("precondition_failed")
    elif is_uuid(task_id):
        row = queries.update_task(caller, task_id, values, versions)
    if row is None:
        raise _refusal(caller, task_id, versions)
    return row


def delete_task(caller: Caller, task_id: str, versions: list[int] | None) -> None:
    """Delete a task that is in one of these versions.

    Raises `ServiceError` `task_not_found`, `precondition_failed` or `auth_revoked`.
    """
    if not is_uuid(task_id) or not queries.delete_task(caller, task_id, versions):
        raise _refusal(caller, task_id, versions)


def _refusal(caller: Caller, task_id: str, versions: list[int] | None) -> ServiceError:
    """Return why a statement found no task: the session, the task or the version is not there."""
    is_live, version = queries.find_refusal(caller, task_id if is_uuid(task_id) else None)
    if not is_live:
        return ServiceError("auth_revoked")
    is_missing = version is None or versions is None
    return ServiceError("task_not_found" if is_missing else "precondition_failed")


def columns_of(body: dict[str, Any]) -> dict[str, Any]:
    """Turn a body into columns; a plain day is stored as its last microsecond in UTC."""
    values = dict(body)
    for name in ("title", "description"):
        if name in values:
            values[f"{name}_words"] = stored_words(values[name])
    if "dueDate" in values:
        due = values.pop("dueDate")
        is_day = isinstance(due, date) and not isinstance(due, datetime)
        values["due_at"] = end_of_day(due) if is_day else due
        values["due_is_day"] = is_day
    return values


def _bound(name: str, value: Any) -> Any:
    """Return a filter's value for SQL: patterns, a sorted list in NFC, or a day's beginning."""
    if name == "q":
        return search_patterns(value)
    if isinstance(value, list):
        return sorted({unicodedata.normalize("NFC", text) for text in value})
    if isinstance(value, date) and not isinstance(value, datetime):
        return start_of_day(value)
    return value
