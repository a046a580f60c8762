"""Schemas of tasks, with the examples of the OpenAPI document."""

import re
import unicodedata
from functools import partial
from typing import Any

from marshmallow import Schema, ValidationError, fields

from taskflow.http.fields import Choice, DayOrInstant, Text
from taskflow.http.schemas import InputSchema
from taskflow.tasks.words import words_of

STATUSES = ("pending", "in_progress", "completed")
PRIORITIES = ("low", "medium", "high")
SORTS = tuple(
    sign + key
    for key in ("createdAt", "updatedAt", "dueDate", "priority", "title")
    for sign in ("", "-")
)
Status = partial(Choice, "TaskStatus", STATUSES)
Priority = partial(Choice, "TaskPriority", PRIORITIES)
Sort = partial(Choice, "TaskSort", SORTS)
READ_ONLY = ("id", "userId", "completedAt", "createdAt", "updatedAt", "version")

# A test sends these examples and compares the answers with them.
NEW_TASK = {
    "title": "Buy milk",
    "description": "Two litres, from the shop at the corner",
    "status": "pending",
    "priority": "high",
    "tags": ["shop"],
    "dueDate": "2026-12-01",
}
TASK: dict[str, Any] = {
    "id": "01a20cbe-374b-71be-a182-29b72fded62e",
    "userId": "01a20cbe-370d-784d-afde-7484248eaac5",
    **NEW_TASK,
    "completedAt": None,
    "createdAt": "2026-11-24T08:48:42.314219+00:00",
    "updatedAt": "2026-11-24T08:48:42.314219+00:00",
    "version": 1,
}
TASK_PATCH = {"status": "completed"}
PATCHED_TASK = {
    **TASK,
    **TASK_PATCH,
    "completedAt": "2026-11-24T08:48:42.360304+00:00",
    "updatedAt": "2026-11-24T08:48:42.360304+00:00",
    "version": 2,
}
TASK_PAGE = {"data": [TASK], "nextCursor": None}

_DUE_DATE = {
    "description": "A day, or an instant with an offset (RFC 3339), from 1970 to 2999 in UTC.",
    "examples": ["2026-12-01", "2026-12-01T17:30:00+00:00"],
}


class Tags(fields.List[str]):
    """At most ten trimmed strings, kept as they are written, no two of them equal in NFC."""

    def __init__(self, **kwargs: Any) -> None:
        description = "At most 10, no two of them equal in NFC after white space is cut off."
        metadata = {"maxItems": 10, "uniqueItems": True, "description": description}
        super().__init__(Text(1, 50, trim=True), metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list) and len(value) > 10:  # a body has room for half a million
            raise ValidationError("Must have at most 10 items.")
        tags = super()._deserialize(value, attr, data, **kwargs)
        if len({unicodedata.normalize("NFC", str(tag)) for tag in tags}) < len(tags):
            raise ValidationError("Must not have two equal items.")
        return tags


class Limit(fields.Integer):
    """A page's size in plain digits; int() would accept spaces and underscores too."""

    def __init__(self, most: int = 100, **kwargs: Any) -> None:
        super().__init__(metadata={"minimum": 1, "maximum": most, "examples": [50]}, **kwargs)
        self.most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not re.fullmatch(r"0*[1-9][0-9]{0,2}", value) or int(value) > self.most:
            raise ValidationError(f"Must be a whole number from 1 to {self.most}.")
        return int(value)


class TaskFieldsSchema(InputSchema):
    """The fields of a task that a body may contain."""

    title = Text(1, 200, trim=True)
    description = Text(0, 2000, allow_none=True)
    status = Status()
    priority = Priority()
    tags = Tags()
    dueDate = DayOrInstant(allow_none=True, metadata=_DUE_DATE)
    id = fields.UUID(dump_only=True)
    userId = fields.UUID(dump_only=True)
    completedAt = fields.AwareDateTime(dump_only=True, allow_none=True)
    createdAt = fields.AwareDateTime(dump_only=True)
    updatedAt = fields.AwareDateTime(dump_only=True)
    version = fields.Integer(dump_only=True)

    read_only = frozenset(READ_ONLY)

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Load all but the read-only fields, so that a task can be sent back as it was read."""
        if isinstance(data, dict):
            data = {name: value for name, value in data.items() if name not in self.read_only}
        return super().load(data, **kwargs)


class TaskPatchSchema(TaskFieldsSchema):
    """The fields of a task to change; the others keep their values (RFC 7396)."""

    def load(self, data: Any, **kwargs: Any) -> Any:
        """Load a body that names at least one field."""
        if not data:
            raise ValidationError({"body": ["Must contain at least one field."]})
        return super().load(data, **kwargs)


class TaskCreationSchema(TaskFieldsSchema):
    """A task to create."""

    title = Text(1, 200, trim=True, required=True)
    description = Text(0, 2000, allow_none=True, load_default=None)
    status = Status(load_default="pending")
    priority = Priority(load_default="medium")
    tags = Tags(load_default=list)
    dueDate = DayOrInstant(allow_none=True, load_default=None, metadata=_DUE_DATE)


def _refuse_no_words(text: str) -> None:
    if not words_of(text):
        raise ValidationError("Must contain a word to search for.")


class TaskListQuerySchema(Schema):
    """The page, the order and the filters of a list."""

    limit = Limit(load_default=20)
    cursor = Text(1, 2000, metadata={"description": "The `nextCursor` of the previous page."})
    sort = Sort(
        load_default="-createdAt",
        metadata={
            "description": "`-` means descending. Tasks without a due date come last.",
            "examples": ["dueDate"],
        },
    )
    status = fields.List(
        Status(),
        metadata={"description": "Any of these.", "examples": [["pending", "in_progress"]]},
    )
    priority = fields.List(
        Priority(),
        metadata={"description": "Any of these.", "examples": [["high"]]},
    )
    tag = fields.List(
        Text(1, 50, trim=True),
        metadata={"description": "All of these, compared in NFC.", "examples": [["shop"]]},
    )
    dueBefore = DayOrInstant(
        metadata={
            "description": "Exclusive. A plain day means its beginning in UTC.",
            "examples": ["2027-01-01"],
        }
    )
    dueAfter = DayOrInstant(
        metadata={
            "description": "Inclusive. A plain day means its beginning in UTC.",
            "examples": ["2026-12-01"],
        }
    )
    q = Text(
        1,
        200,
        validate=_refuse_no_words,
        metadata={
            "description": "Full-text search: every word must be in the title or the description. "
            "The beginning of a word is enough.",
            "examples": ["mil"],
        },
    )


class TaskSchema(Schema):
    """A task."""

    id = fields.UUID(required=True)
    userId = fields.UUID(required=True)
    title = fields.String(required=True)
    description = fields.String(required=True, allow_none=True)
    status = Status(required=True)
    priority = Priority(required=True)
    tags = fields.List(fields.String(), required=True)
    dueDate = fields.String(required=True, allow_none=True, metadata=_DUE_DATE)
    completedAt = fields.AwareDateTime(required=True, allow_none=True)
    createdAt = fields.AwareDateTime(required=True)
    updatedAt = fields.AwareDateTime(required=True)
    version = fields.Integer(
        required=True, metadata={"description": "Grows with every change; the `ETag` in quotes."}
    )


class TaskPageSchema(Schema):
    """A page of tasks."""

    data = fields.List(fields.Nested(TaskSchema), required=True)
    nextCursor = fields.String(
        required=True, allow_none=True, metadata={"description": "Null on the last page."}
    )
