"""Pieces of SQL that the statements on tasks share: a task's JSON, orders, filters, assignments."""

from typing import NamedTuple

from taskflow.database.sql import utc_text


def task_json(source: str) -> str:
    """Return the SQL of a task's JSON; the shape of a task is defined only here.

    `source` is the table or the CTE that has the columns of `tasks`.
    """
    return f"""
    (SELECT row_to_json(t)::text
     FROM (
       SELECT {source}.id, {source}.user_id AS "userId", {source}.title, {source}.description,
              {source}.status, {source}.priority, {source}.tags,
              CASE WHEN {source}.due_is_day
                   THEN to_char({source}.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                   ELSE {utc_text(f"{source}.due_at")}
              END AS "dueDate",
              {utc_text(f"{source}.completed_at")} AS "completedAt",
              {utc_text(f"{source}.created_at")} AS "createdAt",
              {utc_text(f"{source}.updated_at")} AS "updatedAt",
              {source}.version
     ) AS t)
    """


class SortKey(NamedTuple):
    """An SQL expression to order by, and its type.

    Only created_at has an index. The others sort the user's own tasks.
    """

    expression: str
    type: str


_PRIORITY = "array_position(ARRAY['low', 'medium', 'high'], priority)"
SORT_KEYS = {
    "createdAt": SortKey("created_at", "timestamptz"),
    "-createdAt": SortKey("created_at", "timestamptz"),
    "updatedAt": SortKey("updated_at", "timestamptz"),
    "-updatedAt": SortKey("updated_at", "timestamptz"),
    "dueDate": SortKey("COALESCE(due_at, 'infinity')", "timestamptz"),
    "-dueDate": SortKey("COALESCE(due_at, '-infinity')", "timestamptz"),
    "priority": SortKey(_PRIORITY, "integer"),
    "-priority": SortKey(_PRIORITY, "integer"),
    "title": SortKey('lower(title COLLATE "C")', "text"),
    "-title": SortKey('lower(title COLLATE "C")', "text"),
}

FILTERS = {
    "status": "status = ANY(%(status)s::text[])",
    "priority": "priority = ANY(%(priority)s::text[])",
    # The filter is in NFC, and only a text that is not ASCII can be equal in another form.
    "tag": """(tags @> %(tag)s::text[]
            OR octet_length(tags::text) > length(tags::text)
            AND ARRAY(SELECT normalize(tag, NFC) FROM unnest(tags) AS tag) @> %(tag)s::text[])""",
    "dueBefore": "due_at < %(dueBefore)s::timestamptz",
    "dueAfter": "due_at >= %(dueAfter)s::timestamptz",
    "q": """COALESCE(title_words, taskflow_words(title))
            || COALESCE(description_words, taskflow_words(description), '')
            LIKE ALL (%(q)s::text[])""",
}

ASSIGNMENTS = {
    "title": "title = %(title)s",
    "title_words": "title_words = %(title_words)s",
    "description": "description = %(description)s",
    "description_words": "description_words = %(description_words)s",
    "status": """status = %(status)s,
            completed_at = CASE WHEN %(status)s = 'completed' THEN COALESCE(completed_at, now())
                           END""",
    "priority": "priority = %(priority)s",
    "tags": "tags = %(tags)s::text[]",
    "due_at": "due_at = %(due_at)s::timestamptz",
    "due_is_day": "due_is_day = %(due_is_day)s::boolean",
}

IF_VERSION = "AND tasks.version = ANY(%(versions)s::integer[])"
