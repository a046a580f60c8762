"""The rules of the feed of changes, the summary and the restoring of deleted tasks."""

from collections.abc import Sequence
from typing import NamedTuple

from taskflow.database import Row
from taskflow.errors import ServiceError
from taskflow.http.context import Caller
from taskflow.http.fields import is_uuid
from taskflow.tasks import sync_queries
from taskflow.tasks.cursors import Position, decode_cursor, encode_cursor


class Place(NamedTuple):
    """A place in the feed: after a version and an id.

    Deletions up to the change number `base` are left out. A new client begins at `BEGINNING`, and
    its base is the change number at that time.
    """

    version: int
    task_id: str
    base: int | None


BEGINNING = Place(0, sync_queries.FIRST_ID, None)


class Changes(NamedTuple):
    """A page of the feed: tasks as JSON, ids of deleted tasks, and the token of the next page."""

    changed: list[str]
    deleted: list[str]
    next_since: str
    has_more: bool
    change_number: int


def list_changes(
    caller: Caller, since: str | None, limit: int, secrets: Sequence[str], known: int | None
) -> Changes:
    """Return a page of what changed since a token, which is empty if the change number is `known`.

    A token may be signed with any of the `secrets`; a new one is signed with the first. Raises
    `ServiceError` `changes_expired` or `auth_revoked`.
    """
    place, history = (BEGINNING, None) if since is None else _decode(caller, since, secrets)
    rows = sync_queries.list_changes(caller, *place, limit + 1, known)
    if not rows:
        raise ServiceError("auth_revoked")
    number, its_history, is_over, *_ = rows[0]
    is_foreign = history not in (None, its_history) or max(place.base or 0, place.version) > number
    if place is not BEGINNING and (is_over or is_foreign):
        raise ServiceError("changes_expired")
    page = [(version, task_id, json) for *_, version, task_id, json in rows[:limit] if task_id]
    has_more = len(rows) > limit
    next_place = Place(number, sync_queries.LAST_ID, number)
    if has_more:
        base = number if place.base is None else place.base
        next_place = Place(page[-1][0], page[-1][1], base)
    return Changes(
        [json for _, _, json in page if json is not None],
        [task_id for _, task_id, json in page if json is None],
        _encode(caller, next_place, its_history, secrets[0]),
        has_more,
        number,
    )


def _encode(caller: Caller, place: Place, history: str, secret: str) -> str:
    position = Position(f"{place.version} {place.base} {history}", place.task_id)
    return encode_cursor(position, f"changes of {caller.user_id}", secret)


def _decode(caller: Caller, token: str, secrets: Sequence[str]) -> tuple[Place, str]:
    try:
        position = decode_cursor(token, f"changes of {caller.user_id}", secrets)
    except ServiceError:  # damaged, or of another account: a client recovers in the same way
        raise ServiceError("changes_expired") from None
    version, base, history = position.key.split(" ")
    return Place(int(version), position.task_id, int(base)), history


def summarize_tasks(caller: Caller, limit: int) -> Row:
    """Return the user's change number, how many tasks are overdue, and the summary's JSON.

    Raises `ServiceError` `auth_revoked`.
    """
    row = sync_queries.summarize_tasks(caller, limit)
    if row is None:
        raise ServiceError("auth_revoked")
    return row


def restore_task(caller: Caller, task_id: str, limit: int) -> Row:
    """Restore a task that was deleted within 30 days and return its new version and JSON.

    Raises `ServiceError` `task_not_found`, `task_limit_exceeded` or `auth_revoked`.
    """
    if not is_uuid(task_id):
        raise ServiceError("task_not_found")
    row = sync_queries.restore_task(caller, task_id, limit)
    if row is not None:
        return row
    is_live, is_restorable = sync_queries.find_restorable(caller, task_id)
    if not is_live:
        raise ServiceError("auth_revoked")
    raise ServiceError("task_limit_exceeded" if is_restorable else "task_not_found")
