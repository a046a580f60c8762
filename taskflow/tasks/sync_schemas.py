"""Schemas of batches, the feed of changes and the summary, with their examples."""

from typing import Any

from marshmallow import Schema, ValidationError, fields
from marshmallow.error_store import merge_errors

from taskflow.http.schemas import InputSchema
from taskflow.tasks.schemas import (
    NEW_TASK,
    PATCHED_TASK,
    TASK,
    TASK_PATCH,
    Limit,
    TaskCreationSchema,
    TaskFieldsSchema,
    TaskSchema,
)

MAX_ITEMS = 100
_LISTS = ("create", "update", "delete")
_LARGEST_VERSION = 2**31 - 1
_UP_TO_100 = {"maxItems": MAX_ITEMS}

# A test sends these examples and compares the answers with them.
BATCH = {
    "create": [NEW_TASK],
    "update": [{"id": TASK["id"], "version": 1, **TASK_PATCH}],
    "delete": [],
}
_CREATED = {**TASK, "id": "01a20cbe-3b0f-7a52-9d1c-52f1f2a8e3c4", "version": 2}
WRITTEN_BATCH = {"created": [_CREATED], "updated": [PATCHED_TASK], "deleted": []}
CHANGES = {"changed": [TASK], "deleted": [], "nextSince": "n3iVf0rO…", "hasMore": False}
SUMMARY = {
    "total": 1,
    "limit": 1000,
    "byStatus": {"pending": 1, "in_progress": 0, "completed": 0},
    "byPriority": {"low": 0, "medium": 0, "high": 1},
    "overdue": 0,
    "tags": [{"tag": "shop", "count": 1}],
}


class Version(fields.Integer):
    """The version of a task; a number that no task has is valid and matches none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("invalid", input=value)
        return value if 0 < value <= _LARGEST_VERSION else 0


def _task_id() -> fields.String:
    """Return the field of a task's id; as in a path, a text that is not a UUID names no task."""
    return fields.String(required=True, metadata={"format": "uuid"})


class BatchUpdateSchema(TaskFieldsSchema):
    """A task to update, and the fields to change."""

    id = _task_id()  # type: ignore[assignment]
    version = Version()

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Load an item that names at least one field to change."""
        loaded = super().load(data, **kwargs)
        if not loaded.keys() - {"id", "version"}:
            raise ValidationError("Must contain at least one field.")
        return loaded

    read_only = frozenset(TaskFieldsSchema.read_only) - {"id", "version"}


class BatchDeletionSchema(InputSchema):
    """A task to delete."""

    id = _task_id()
    version = Version()


class BatchSchema(InputSchema):
    """Tasks to create, update and delete, 1 to 100 in all."""

    create = fields.List(fields.Nested(TaskCreationSchema), load_default=list, metadata=_UP_TO_100)
    update = fields.List(fields.Nested(BatchUpdateSchema), load_default=list, metadata=_UP_TO_100)
    delete = fields.List(fields.Nested(BatchDeletionSchema), load_default=list, metadata=_UP_TO_100)

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Load a batch that has 1 to 100 items and names no task twice."""
        count = sum(len(_items(data, name)) for name in _LISTS)
        if count > MAX_ITEMS:  # validating a large number of items would take long
            raise ValidationError({"body": [f"Must contain at most {MAX_ITEMS} items."]})
        messages, loaded = _repeated_ids(data), None
        try:
            loaded = super().load(data, **kwargs)
        except ValidationError as error:
            messages = merge_errors(error.messages, messages)  # type: ignore[no-untyped-call]
        if not count and not messages:
            messages = {"body": ["Must contain at least one item."]}
        if messages:
            raise ValidationError(messages)
        return loaded


def _items(batch: dict[str, Any], name: str) -> list[Any]:
    items = batch.get(name)
    return items if isinstance(items, list) else []


def _repeated_ids(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a message for each item with the id of an item before it."""
    seen: set[str] = set()
    messages: dict[str, Any] = {}
    for name in ("update", "delete"):
        for place, item in enumerate(_items(batch, name)):
            task_id = item.get("id") if isinstance(item, dict) else None
            if not isinstance(task_id, str):
                continue
            if task_id.lower() in seen:
                messages.setdefault(name, {})[place] = {"id": ["Must not be named twice."]}
            seen.add(task_id.lower())
    return messages


class WrittenBatchSchema(Schema):
    """The tasks and ids of a batch, in the order that was sent."""

    created = fields.List(fields.Nested(TaskSchema), required=True)
    updated = fields.List(fields.Nested(TaskSchema), required=True)
    deleted = fields.List(fields.UUID(), required=True)


class ChangesQuerySchema(Schema):
    """The place in the feed of changes, and the size of the page."""

    since = fields.String(metadata={"description": "The `nextSince` of the previous page."})
    limit = Limit(most=500, load_default=100)


class ChangesSchema(Schema):
    """A page of the feed of changes."""

    changed = fields.List(fields.Nested(TaskSchema), required=True)
    deleted = fields.List(fields.UUID(), required=True)
    nextSince = fields.String(required=True)
    hasMore = fields.Boolean(required=True)


class StatusCountsSchema(Schema):
    """How many tasks have each status."""

    pending = fields.Integer(required=True)
    in_progress = fields.Integer(required=True)
    completed = fields.Integer(required=True)


class PriorityCountsSchema(Schema):
    """How many tasks have each priority."""

    low = fields.Integer(required=True)
    medium = fields.Integer(required=True)
    high = fields.Integer(required=True)


class TagCountSchema(Schema):
    """How many tasks have a tag."""

    tag = fields.String(required=True)
    count = fields.Integer(required=True)


class SummarySchema(Schema):
    """Counts of all tasks of a user."""

    total = fields.Integer(required=True)
    limit = fields.Integer(required=True, metadata={"description": "The task limit of a user."})
    byStatus = fields.Nested(StatusCountsSchema, required=True)
    byPriority = fields.Nested(PriorityCountsSchema, required=True)
    overdue = fields.Integer(required=True)
    tags = fields.List(fields.Nested(TagCountSchema), required=True)
