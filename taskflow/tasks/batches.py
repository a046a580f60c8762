"""The rules of batches: all items or none, in one transaction."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from taskflow.errors import ServiceError
from taskflow.http.context import Caller
from taskflow.http.fields import is_uuid
from taskflow.ids import new_id
from taskflow.tasks import batch_queries, queries
from taskflow.tasks.headers import IdempotencyKey
from taskflow.tasks.service import columns_of

Items = list[dict[str, Any]]
_MISSING = "There is no such task."
_CHANGED = "The task has another version."
_NO_ROOM = "There is no room for the task."


class WrittenBatch(NamedTuple):
    """A batch that was written now, or by an earlier request with the same key."""

    created: list[str]  # JSON of tasks, in the order that was sent
    updated: list[str]
    deleted: list[str]  # ids
    replayed: bool


def write_batch(
    caller: Caller, body: dict[str, Items], limit: int, key: IdempotencyKey | None
) -> WrittenBatch:
    """Write all items of a batch, or return what this Idempotency-Key wrote before.

    `limit` is how many tasks the user may have. Raises `ServiceError` `task_not_found`,
    `precondition_failed` or `task_limit_exceeded` with the items that are refused,
    `idempotency_key_reused` or `auth_revoked`.
    """
    batch = {
        "create": [{"id": new_id(), **columns_of(item)} for item in body["create"]],
        "update": [columns_of(item) for item in body["update"]],
        "delete": body["delete"],
    }
    while True:
        if written := _try_to_write(caller, batch, limit, key):
            return written
        refusal = _refusal(caller, body, limit)
        if refusal and refusal.code == "auth_revoked":
            raise refusal
        # An earlier request with the same key may be the reason: it may have deleted the task.
        if key and (replay := _find_replay(caller, key)):
            return replay
        if refusal:  # if there is none, the reason or an expired key has just gone: try again
            raise refusal


def _try_to_write(
    caller: Caller, batch: dict[str, Items], limit: int, key: IdempotencyKey | None
) -> WrittenBatch | None:
    """Write a batch, or return None if an item is refused or the key exists."""
    if any(not is_uuid(item["id"]) for _, item in _named_items(batch)):
        return None
    try:
        written = batch_queries.write_batch(caller, batch, limit, key)
    except ServiceError as error:
        if key is None or error.code != "idempotency_key_reused":
            raise
        queries.delete_expired_key(caller.user_id, key.key)
        return None
    return None if written is None else _in_order(batch, written)


def _in_order(batch: dict[str, Items], written: dict[str, str]) -> WrittenBatch:
    created, updated = (
        [written[str(item["id"]).lower()] for item in batch[name]] for name in ("create", "update")
    )
    return WrittenBatch(created, updated, [item["id"].lower() for item in batch["delete"]], False)


def _find_replay(caller: Caller, key: IdempotencyKey) -> WrittenBatch | None:
    found = batch_queries.find_batch_replay(caller, key.key)
    if found is None:
        return None
    body_digest, ids, tasks = found
    if body_digest != key.body_digest:
        raise ServiceError("idempotency_key_reused")
    try:
        created, updated = (
            [tasks[task_id.lower()] for task_id in ids[name]] for name in ("create", "update")
        )
    except KeyError:
        raise ServiceError("task_not_found") from None
    return WrittenBatch(created, updated, [task_id.lower() for task_id in ids["delete"]], True)


def _named_items(body: dict[str, Items]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each item that names a task, with its path in the body."""
    for name in ("update", "delete"):
        for place, item in enumerate(body[name]):
            yield f"{name}.{place}", item


def _refusal(caller: Caller, body: dict[str, Items], limit: int) -> ServiceError | None:
    """Return why nothing was written, or None if the reason has gone: 401, 404, 412, then 403."""
    named = list(_named_items(body))
    ids = [item["id"] for _, item in named if is_uuid(item["id"])]
    is_live, task_count, versions = batch_queries.find_states(caller, ids)
    if not is_live:
        return ServiceError("auth_revoked")
    found = [(path, item, versions.get(item["id"].lower())) for path, item in named]
    if missing := [(f"{path}.id", _MISSING) for path, _, version in found if version is None]:
        return ServiceError("task_not_found", missing)
    changed = [
        (f"{path}.version", _CHANGED)
        for path, item, version in found
        if item.get("version") not in (None, version)
    ]
    if changed:
        return ServiceError("precondition_failed", changed)
    room = max(limit - task_count + len(body["delete"]), 0)
    surplus = [(f"create.{place}", _NO_ROOM) for place in range(room, len(body["create"]))]
    return ServiceError("task_limit_exceeded", surplus) if surplus else None
