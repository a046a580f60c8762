"""Schemas of batches, the feed of changes and the summary, with their examples."""

from collections.abc import Iterator
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields

from taskflow.http.fields import Text
from taskflow.tasks.schemas import (
    NEW_TASK,
    TASK,
    Limit,
    TaskCreationSchema,
    TaskFieldsSchema,
    TaskSchema,
)

MAX_ITEMS = 100
_LISTS = ("create", "update", "delete")
_LARGEST_VERSION = 2**31 - 1

# A test sends these examples and compares the answers with them.
BATCH = {"create": [NEW_TASK]}
WRITTEN_BATCH = {"created": [TASK], "updated": [], "deleted": []}
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


class BatchUpdateSchema(TaskFieldsSchema):
    """A task to update, and the fields to change."""

    id = Text(0, 1000, required=True, metadata={"format": "uuid"})  # type: ignore[assignment]
    version = Version()

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Load an item that names at least one field to change."""
        loaded = super().load(data, **kwargs)
        if not loaded.keys() - {"id", "version"}:
            raise ValidationError("Must contain at least one field.")
        return loaded

    read_only = frozenset(TaskFieldsSchema.read_only) - {"id", "version"}


class BatchDeletionSchema(Schema):
    """A task to delete."""

    class Meta:
        """Refuse unknown fields."""

        unknown = RAISE

    id = Text(0, 1000, required=True, metadata={"format": "uuid"})
    version = Version()


class BatchSchema(Schema):
    """Tasks to create, update and delete, 1 to 100 in all."""

    class Meta:
        """Refuse unknown fields."""

        unknown = RAISE

    create = fields.List(fields.Nested(TaskCreationSchema), load_default=list)
    update = fields.List(fields.Nested(BatchUpdateSchema), load_default=list)
    delete = fields.List(fields.Nested(BatchDeletionSchema), load_default=list)

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Load a batch that has 1 to 100 items and names no task twice."""
        count = sum(len(data[name]) for name in _LISTS if isinstance(data.get(name), list))
        if count > MAX_ITEMS:  # before all of them are validated
            raise ValidationError({"body": [f"Must contain at most {MAX_ITEMS} items."]})
        loaded = super().load(data, **kwargs)
        if not count:
            raise ValidationError({"body": ["Must contain at least one item."]})
        if repeated := dict(_repeated_ids(loaded)):
            raise ValidationError(repeated)
        return loaded


def _repeated_ids(batch: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for name in ("update", "delete"):
        for place, item in enumerate(batch[name]):
            task_id = item["id"].lower()
            if task_id in seen:
                yield name, {place: {"id": ["Must not be named twice."]}}
            seen.add(task_id)


class WrittenBatchSchema(Schema):
    """The tasks and ids of a batch, in the order that was sent."""

    created = fields.List(fields.Nested(TaskSchema), required=True)
    updated = fields.List(fields.Nested(TaskSchema), required=True)
    deleted = fields.List(fields.UUID(), required=True)


class ChangesQuerySchema(Schema):
    """Where to go on in the feed of changes."""

    since = Text(1, 2000, metadata={"description": "The nextSince of the page before."})
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
    limit = fields.Integer(required=True, metadata={"description": "Most tasks of a user."})
    byStatus = fields.Nested(StatusCountsSchema, required=True)
    byPriority = fields.Nested(PriorityCountsSchema, required=True)
    overdue = fields.Integer(required=True)
    tags = fields.List(fields.Nested(TagCountSchema), required=True)
