"""The SQL of batches, one statement a function."""

from functools import cache
from json import JSONEncoder

from taskflow.database import Row
from taskflow.database.sql import LIVE_SESSION
from taskflow.http.answers import compact_json
from taskflow.http.context import Caller, components
from taskflow.tasks.headers import IdempotencyKey
from taskflow.tasks.sql import task_json

_encode = JSONEncoder(default=str).encode  # instants as text, which PostgreSQL reads

_REMEMBERED = """, remembered AS (
          INSERT INTO idempotency_keys (user_id, key, body_digest, batch)
          SELECT id, %(key)s, %(body_digest)s, %(result)s::jsonb
          FROM owner
        )"""


# The first statement locks the user, so that the second one sees the result of other writes, and
# nothing changes between its check and its writes.
_LOCK_USER = """
        /* write_batch */
        SELECT 1
        FROM users
        WHERE id = %(user_id)s::uuid
        FOR NO KEY UPDATE;
"""

# `items` are the items that name a task. `owner` is the user's row, or empty if an item is refused.
_CHECK = f"""
        WITH items AS MATERIALIZED (
          SELECT (item->>'id')::uuid AS item_id, (item->>'version')::integer AS wanted,
                 item, is_deletion
          FROM (SELECT jsonb_array_elements(%(update)s::jsonb) AS item, false AS is_deletion
                UNION ALL
                SELECT jsonb_array_elements(%(delete)s::jsonb), true) AS both_lists
        ), owner AS (
          UPDATE users
          SET task_count = task_count + %(created)s, change_number = change_number + 1
          FROM sessions
          WHERE users.id = %(user_id)s::uuid
            AND {LIVE_SESSION}
            AND (%(created)s = 0 OR task_count + %(created)s - %(deleted)s <= %(limit)s)
            AND NOT EXISTS (
              SELECT 1
              FROM items
              LEFT JOIN tasks ON tasks.user_id = %(user_id)s::uuid AND tasks.id = item_id
              WHERE tasks.id IS NULL
                 OR tasks.version <> wanted
            )
          RETURNING users.id, users.change_number"""

_CREATE = """
        ), created AS (
          INSERT INTO tasks (id, user_id, title, title_words, description, description_words,
                             status, priority, tags, due_at, due_is_day, completed_at, version)
          SELECT item.id, owner.id, title, title_words, description, description_words, status,
                 priority, tags, due_at, due_is_day,
                 CASE WHEN status = 'completed' THEN now() END, change_number
          FROM owner, jsonb_to_recordset(%(create)s::jsonb) AS item(
            id uuid, title text, title_words text, description text, description_words text,
            status text, priority text, tags text[], due_at timestamptz, due_is_day boolean)
          RETURNING *"""

_UPDATE = """
        ), updated AS (
          UPDATE tasks
          SET version = change_number,
              updated_at = now(),
              title = COALESCE(item->>'title', title),
              title_words = COALESCE(item->>'title_words', title_words),
              description = CASE WHEN item ? 'description' THEN item->>'description'
                                 ELSE description END,
              description_words = COALESCE(item->>'description_words', description_words),
              status = COALESCE(item->>'status', status),
              completed_at = CASE COALESCE(item->>'status', status)
                             WHEN 'completed' THEN COALESCE(completed_at, now()) END,
              priority = COALESCE(item->>'priority', priority),
              tags = CASE WHEN item ? 'tags'
                          THEN ARRAY(SELECT jsonb_array_elements_text(item->'tags'))
                          ELSE tags END,
              due_at = CASE WHEN item ? 'due_at' THEN (item->>'due_at')::timestamptz
                            ELSE due_at END,
              due_is_day = COALESCE((item->>'due_is_day')::boolean, due_is_day)
          FROM owner, items
          WHERE NOT is_deletion
            AND tasks.user_id = %(user_id)s::uuid
            AND tasks.id = item_id
          RETURNING tasks.*"""

_DELETE = """
        ), deleted AS (
          DELETE FROM tasks
          USING owner, items
          WHERE is_deletion
            AND tasks.user_id = %(user_id)s::uuid
            AND tasks.id = item_id
        )"""


@cache
def _write_batch_sql(remembers_key: bool) -> str:
    remembered = _REMEMBERED if remembers_key else ""
    return f"""{_LOCK_USER}{_CHECK}{_CREATE}{_UPDATE}{_DELETE}{remembered}
        SELECT id::text, NULL AS json
        FROM owner
        UNION ALL
        SELECT id::text, {task_json("created")}
        FROM created
        UNION ALL
        SELECT id::text, {task_json("updated")}
        FROM updated
        """


def write_batch(
    caller: Caller,
    batch: dict[str, list[dict[str, object]]],
    limit: int,
    key: IdempotencyKey | None,
) -> dict[str, str] | None:
    """Write a batch and return the JSON of its created and updated tasks by their ids.

    `batch` has the columns of the items in `create`, `update` and `delete`. Returns None, and
    writes nothing, if any item is refused; `find_states` tells which. Raises `ServiceError`
    `idempotency_key_reused` if the key exists.
    """
    result = {name: [item["id"] for item in items] for name, items in batch.items()}
    rows = components().database.script(
        _write_batch_sql(key is not None),
        {
            **caller._asdict(),
            **{name: _encode(items) for name, items in batch.items()},
            "created": len(batch["create"]),
            "deleted": len(batch["delete"]),
            "limit": limit,
            "result": compact_json(result),
            **(key._asdict() if key else {}),
        },
    )
    return {task_id: json for task_id, json in rows if json is not None} if rows else None


def find_states(caller: Caller, task_ids: list[str]) -> Row:
    """Return whether the session is live, the number of tasks, and the tasks' versions by id."""
    [row] = components().database.query(
        f"""
        /* find_states */
        SELECT EXISTS (SELECT 1 FROM sessions WHERE {LIVE_SESSION}),
               (SELECT task_count FROM users WHERE id = %(user_id)s::uuid),
               (SELECT COALESCE(json_object_agg(id, version), '{{}}')
                FROM tasks
                WHERE user_id = %(user_id)s::uuid
                  AND id = ANY(%(task_ids)s::text[]::uuid[]))
        """,
        {**caller._asdict(), "task_ids": task_ids},
    )
    return row


def find_batch_replay(caller: Caller, key: str) -> Row | None:
    """Return a live key's digest, the ids of its batch, and the JSON of its tasks by their ids.

    Returns None for a key that is unknown or more than a day old, and after the end of the session.
    """
    rows = components().database.query(
        f"""
        /* find_batch_replay */
        SELECT body_digest, batch,
               (SELECT COALESCE(json_object_agg(tasks.id, {task_json("tasks")}), '{{}}')
                FROM tasks
                WHERE tasks.user_id = %(user_id)s::uuid
                  AND tasks.id IN (
                    SELECT value::uuid
                    FROM jsonb_array_elements_text(batch->'create' || (batch->'update')) AS value
                  ))
        FROM idempotency_keys
        WHERE user_id = %(user_id)s::uuid
          AND key = %(key)s
          AND created_at > now() - interval '24 hours'
          AND EXISTS (SELECT 1 FROM sessions WHERE {LIVE_SESSION})
        """,
        {**caller._asdict(), "key": key},
    )
    return rows[0] if rows else None
