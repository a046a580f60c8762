"""The SQL of tasks, one statement a function. Every statement names the user.

PostgreSQL builds the JSON of a task, and the service passes it on as text.
"""

from typing import Any, NamedTuple

from taskflow.database import Row
from taskflow.http.context import components
from taskflow.tasks.cursors import Position
from taskflow.tasks.headers import IdempotencyKey


def task_json(source: str) -> str:
    """Return the SQL of a task's JSON, the one place for its shape.

    `source` is the table or the CTE that has the columns of `tasks`.
    """
    return f"""
    (SELECT row_to_json(t)::text
     FROM (
       SELECT {source}.id, {source}.user_id AS "userId", {source}.title, {source}.description,
              {source}.status, {source}.priority, {source}.tags,
              CASE WHEN {source}.due_is_day THEN to_json(({source}.due_at AT TIME ZONE 'UTC')::date)
                   ELSE to_json({source}.due_at)
              END AS "dueDate",
              {source}.completed_at AS "completedAt", {source}.created_at AS "createdAt",
              {source}.updated_at AS "updatedAt"
     ) AS t)
    """


TASK_JSON = task_json("tasks")


class SortKey(NamedTuple):
    """An SQL expression to order by, and its type; each has an index in schema.sql."""

    expression: str
    type: str


SORT_KEYS = {
    "createdAt": SortKey("created_at", "timestamptz"),
    "-createdAt": SortKey("created_at", "timestamptz"),
    "updatedAt": SortKey("updated_at", "timestamptz"),
    "-updatedAt": SortKey("updated_at", "timestamptz"),
    "dueDate": SortKey("COALESCE(due_at, 'infinity')", "timestamptz"),
    "-dueDate": SortKey("COALESCE(due_at, '-infinity')", "timestamptz"),
    "priority": SortKey("array_position(ARRAY['low', 'medium', 'high'], priority)", "integer"),
    "-priority": SortKey("array_position(ARRAY['low', 'medium', 'high'], priority)", "integer"),
    "title": SortKey('lower(title COLLATE "C")', "text"),
    "-title": SortKey('lower(title COLLATE "C")', "text"),
}

FILTERS = {
    "status": "status = ANY(%(status)s)",
    "priority": "priority = ANY(%(priority)s)",
    "tag": "tags @> %(tag)s",
    "dueBefore": "due_at < %(dueBefore)s",
    "dueAfter": "due_at >= %(dueAfter)s",
    "q": "words @@ taskflow_query(%(q)s)",
}

ASSIGNMENTS = {
    "title": "title = %(title)s",
    "description": "description = %(description)s",
    "status": """status = %(status)s,
            completed_at = CASE WHEN %(status)s = 'completed' THEN COALESCE(completed_at, now())
                           END""",
    "priority": "priority = %(priority)s",
    "tags": "tags = %(tags)s::text[]",
    "due_at": "due_at = %(due_at)s",
    "due_is_day": "due_is_day = %(due_is_day)s",
}

IF_VERSION = "AND version = ANY(%(versions)s::integer[])"

REMEMBER_KEY = """, remembered AS (
          INSERT INTO idempotency_keys (user_id, key, body_digest, task_id)
          SELECT user_id, %(key)s, %(body_digest)s, id
          FROM inserted
        )"""


def insert_task(
    user_id: str, values: dict[str, Any], limit: int, idempotency: IdempotencyKey | None
) -> Row | None:
    """Insert a task and return its id, version and JSON, or None at the user's limit.

    The statement locks the user's row, whose count makes the limit exact. Raises `ServiceError`
    `idempotency_key_reused`, and inserts nothing, if the key exists.
    """
    rows = components().database.execute(
        f"""
        /* insert_task */
        WITH room AS (
          UPDATE users
          SET task_count = task_count + 1
          WHERE id = %(user_id)s::uuid
            AND task_count < %(limit)s
          RETURNING id
        ), inserted AS (
          INSERT INTO tasks (user_id, title, description, status, priority, tags,
                             due_at, due_is_day, completed_at)
          SELECT id, %(title)s, %(description)s, %(status)s, %(priority)s, %(tags)s::text[],
                 %(due_at)s, %(due_is_day)s,
                 CASE WHEN %(status)s = 'completed' THEN now() END
          FROM room
          RETURNING *
        ){REMEMBER_KEY if idempotency else ""}
        SELECT id::text, version, {task_json("inserted")}
        FROM inserted
        """,
        {
            **values,
            "user_id": user_id,
            "limit": limit,
            **(idempotency._asdict() if idempotency else {}),
        },
    )
    return rows[0] if rows else None


def find_replay(user_id: str, key: str) -> Row | None:
    """Return an Idempotency-Key's digest and its task's id, version and JSON.

    The id is None if the task has been deleted. Returns None for a key that is unknown or more
    than a day old.
    """
    rows = components().database.query(
        f"""
        /* find_replay */
        SELECT body_digest, tasks.id::text, tasks.version, {TASK_JSON}
        FROM idempotency_keys AS keys
        LEFT JOIN tasks ON tasks.user_id = keys.user_id AND tasks.id = keys.task_id
        WHERE keys.user_id = %(user_id)s::uuid
          AND keys.key = %(key)s
          AND keys.created_at > now() - interval '24 hours'
        """,
        {"user_id": user_id, "key": key},
    )
    return rows[0] if rows else None


def delete_expired_key(user_id: str, key: str) -> None:
    """Delete an Idempotency-Key if it is more than a day old."""
    components().database.execute(
        """
        /* delete_expired_key */
        DELETE FROM idempotency_keys
        WHERE user_id = %(user_id)s::uuid
          AND key = %(key)s
          AND created_at <= now() - interval '24 hours'
        """,
        {"user_id": user_id, "key": key},
    )


def user_exists(user_id: str) -> bool:
    """Return whether the account still exists."""
    return bool(
        components().database.query(
            """
            /* user_exists */
            SELECT 1
            FROM users
            WHERE id = %(user_id)s::uuid
            """,
            {"user_id": user_id},
        )
    )


def find_task(user_id: str, task_id: str) -> Row | None:
    """Return a task's version and JSON, or None."""
    rows = components().database.query(
        f"""
        /* find_task */
        SELECT version, {TASK_JSON}
        FROM tasks
        WHERE user_id = %(user_id)s::uuid
          AND id = %(task_id)s::uuid
        """,
        {"user_id": user_id, "task_id": task_id},
    )
    return rows[0] if rows else None


def list_tasks(
    user_id: str, sort: str, filters: dict[str, Any], after: Position | None, limit: int
) -> list[Row]:
    """Return the JSON, the sort key as text and the id of the tasks after a position, in order.

    The texts are aliased, because ORDER BY would otherwise take them for the columns.
    """
    key, key_type = SORT_KEYS[sort]
    direction, beyond = ("DESC", "<") if sort.startswith("-") else ("ASC", ">")
    conditions = [FILTERS[name] for name in filters]
    if after:
        conditions.append(f"({key}, id) {beyond} (%(after_key)s::{key_type}, %(after_id)s::uuid)")
    return components().database.query(
        f"""
        /* list_tasks */
        SELECT {TASK_JSON}, ({key})::text AS key, id::text AS task_id
        FROM tasks
        WHERE user_id = %(user_id)s::uuid
          {"".join(f"AND {condition} " for condition in conditions)}
        ORDER BY {key} {direction}, id {direction}
        LIMIT %(limit)s
        """,
        {
            **filters,
            "user_id": user_id,
            "limit": limit,
            "after_key": after and after.key,
            "after_id": after and after.task_id,
        },
    )


def update_task(
    user_id: str, task_id: str, values: dict[str, Any], versions: list[int] | None
) -> Row | None:
    """Update a task and return its new version and JSON, or None if there is none to update.

    `versions` limits the update to these versions; with None any will do.
    """
    rows = components().database.execute(
        f"""
        /* update_task */
        UPDATE tasks
        SET version = version + 1, updated_at = now()
            {"".join(f", {ASSIGNMENTS[name]}" for name in values)}
        WHERE user_id = %(user_id)s::uuid
          AND id = %(task_id)s::uuid
          {"" if versions is None else IF_VERSION}
        RETURNING version, {TASK_JSON}
        """,
        {**values, "user_id": user_id, "task_id": task_id, "versions": versions},
    )
    return rows[0] if rows else None


def delete_task(user_id: str, task_id: str, versions: list[int] | None) -> bool:
    """Delete a task and return whether it was there in one of these versions, or in any with None.

    The user is locked first, as it is where an account is deleted, so that the two can't
    deadlock.
    """
    return bool(
        components().database.execute(
            f"""
            /* delete_task */
            WITH owner AS (
              SELECT users.id AS owner_id
              FROM users
              WHERE users.id = %(user_id)s::uuid
              FOR NO KEY UPDATE
            ), deleted AS (
              DELETE FROM tasks
              USING owner
              WHERE user_id = owner_id
                AND id = %(task_id)s::uuid
                {"" if versions is None else IF_VERSION}
              RETURNING user_id
            )
            UPDATE users
            SET task_count = GREATEST(task_count - 1, 0)
            FROM deleted
            WHERE users.id = deleted.user_id
            RETURNING users.id
            """,
            {"user_id": user_id, "task_id": task_id, "versions": versions},
        )
    )
