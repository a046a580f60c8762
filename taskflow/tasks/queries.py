"""The SQL of tasks, one statement a function. Every statement names the user and its session.

PostgreSQL builds the JSON of a task, and the service passes the JSON on as text. A write locks the
user's row, and gives its task the user's next change number as the version.
"""

from functools import cache
from typing import Any

from taskflow.database import Row
from taskflow.database.sql import LIVE_SESSION
from taskflow.http.context import Caller, components
from taskflow.tasks.cursors import Position
from taskflow.tasks.headers import IdempotencyKey
from taskflow.tasks.sql import ASSIGNMENTS, FILTERS, IF_VERSION, SORT_KEYS, task_json


@cache
def _insert_task_sql(remembers_key: bool) -> str:
    remembered = """, remembered AS (
          INSERT INTO idempotency_keys (user_id, key, body_digest, task_id)
          SELECT user_id, %(key)s, %(body_digest)s, id
          FROM inserted
        )"""
    return f"""
        /* insert_task */
        WITH owner AS (
          UPDATE users
          SET task_count = task_count + 1, change_number = change_number + 1
          FROM sessions
          WHERE users.id = %(user_id)s::uuid
            AND users.task_count < %(limit)s::integer
            AND {LIVE_SESSION}
          RETURNING users.id, users.change_number
        ), inserted AS (
          INSERT INTO tasks (id, user_id, title, title_words, description, description_words,
                             status, priority, tags, due_at, due_is_day, completed_at, version)
          SELECT %(task_id)s::uuid, id, %(title)s, %(title_words)s, %(description)s,
                 %(description_words)s, %(status)s, %(priority)s, %(tags)s::text[],
                 %(due_at)s::timestamptz, %(due_is_day)s::boolean,
                 CASE WHEN %(status)s = 'completed' THEN now() END, change_number
          FROM owner
          RETURNING *
        ){remembered if remembers_key else ""}
        SELECT version, {task_json("inserted")}
        FROM inserted
        """


def insert_task(
    caller: Caller,
    task_id: str,
    values: dict[str, Any],
    limit: int,
    idempotency: IdempotencyKey | None,
) -> Row | None:
    """Insert a task and return its version and JSON.

    Returns None at the user's limit or after the end of the session; `find_refusal` tells which.
    The statement locks the user's row, whose count makes the limit exact. Raises `ServiceError`
    `idempotency_key_reused`, and inserts nothing, if the key exists.
    """
    key = idempotency._asdict() if idempotency else {}
    rows = components().database.execute(
        _insert_task_sql(idempotency is not None),
        {**values, **caller._asdict(), "task_id": task_id, "limit": limit, **key},
    )
    return rows[0] if rows else None


_FIND_REPLAY = f"""
        /* find_replay */
        SELECT keys.body_digest, tasks.id::text, tasks.version, {task_json("tasks")}
        FROM idempotency_keys AS keys
        LEFT JOIN tasks ON tasks.user_id = keys.user_id AND tasks.id = keys.task_id
        WHERE keys.user_id = %(user_id)s::uuid
          AND keys.key = %(key)s
          AND keys.created_at > now() - interval '24 hours'
        """


def find_replay(user_id: str, key: str) -> Row | None:
    """Return an Idempotency-Key's digest and its task's id, version and JSON.

    The id is None if the task has been deleted. Returns None for a key that is unknown or more
    than a day old.
    """
    rows = components().database.query(_FIND_REPLAY, {"user_id": user_id, "key": key})
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


def find_refusal(caller: Caller, task_id: str | None = None) -> Row:
    """Return whether the session is live, and the version of a task, or None if there is none."""
    [row] = components().database.query(
        f"""
        /* find_refusal */
        SELECT EXISTS (SELECT 1 FROM sessions WHERE {LIVE_SESSION}),
               (SELECT version
                FROM tasks
                WHERE user_id = %(user_id)s::uuid
                  AND id = %(task_id)s::uuid)
        """,
        {**caller._asdict(), "task_id": task_id},
    )
    return row


_FIND_TASK = f"""
        /* find_task */
        SELECT version, {task_json("tasks")}
        FROM tasks
        WHERE user_id = %(user_id)s::uuid
          AND id = %(task_id)s::uuid
          AND EXISTS (SELECT 1 FROM sessions WHERE {LIVE_SESSION})
        """


def find_task(caller: Caller, task_id: str) -> Row | None:
    """Return a task's version and JSON, or None."""
    rows = components().database.query(_FIND_TASK, {**caller._asdict(), "task_id": task_id})
    return rows[0] if rows else None


@cache
def _list_tasks_sql(sort: str, filters: tuple[str, ...], is_continued: bool) -> str:
    key, key_type = SORT_KEYS[sort]
    direction, beyond = ("DESC", "<") if sort.startswith("-") else ("ASC", ">")
    conditions = [FILTERS[name] for name in filters]
    if is_continued:
        conditions.append(f"({key}, id) {beyond} (%(after_key)s::{key_type}, %(after_id)s::uuid)")
    return f"""
        /* list_tasks */
        SELECT users.change_number, page.json, page.key, page.task_id
        FROM users
        JOIN sessions ON {LIVE_SESSION}
        LEFT JOIN LATERAL (
          SELECT {task_json("tasks")} AS json, ({key})::text AS key, tasks.id::text AS task_id
          FROM tasks
          WHERE user_id = users.id
            AND users.change_number IS DISTINCT FROM %(known)s::integer
            {"".join(f"AND {condition} " for condition in conditions)}
          ORDER BY {key} {direction}, id {direction}
          LIMIT %(limit)s::integer
        ) AS page ON true
        WHERE users.id = %(user_id)s::uuid
        """


def list_tasks(
    caller: Caller,
    sort: str,
    filters: dict[str, Any],
    after: Position | None,
    limit: int,
    known: int | None,
) -> list[Row]:
    """Return the tasks after a position, in order.

    Each row has the user's change number and the task's JSON, sort key as text and id; these are
    None in the one row of an empty page. The page is empty too if the change number is `known`.
    Returns no row after the end of the session.
    """
    return components().database.query(
        _list_tasks_sql(sort, tuple(filters), after is not None),
        {
            **filters,
            **caller._asdict(),
            "known": known,
            "limit": limit,
            "after_key": after and after.key,
            "after_id": after and after.task_id,
        },
        # Most of the many combinations of filters are used once. To plan a search, PostgreSQL has
        # to know its words: following the index is quick for common words, not for rare ones.
        prepare=len(filters) <= 1 and "q" not in filters,
    )


@cache
def _update_task_sql(names: tuple[str, ...], is_guarded: bool) -> str:
    # The change number is raised last, so that a refused update leaves it as it was.
    return f"""
        /* update_task */
        WITH owner AS (
          SELECT users.id, users.change_number + 1 AS next_number
          FROM users
          JOIN sessions ON {LIVE_SESSION}
          WHERE users.id = %(user_id)s::uuid
          FOR NO KEY UPDATE OF users
        ), updated AS (
          UPDATE tasks
          SET version = next_number, updated_at = now(),
              {", ".join(ASSIGNMENTS[name] for name in names)}
          FROM owner
          WHERE tasks.user_id = owner.id
            AND tasks.id = %(task_id)s::uuid
            {IF_VERSION if is_guarded else ""}
          RETURNING tasks.*
        ), counted AS (
          UPDATE users
          SET change_number = updated.version
          FROM updated
          WHERE users.id = updated.user_id
        )
        SELECT version, {task_json("updated")}
        FROM updated
        """


def update_task(
    caller: Caller, task_id: str, values: dict[str, Any], versions: list[int] | None
) -> Row | None:
    """Update a task and return its new version and JSON, or None if no task was updated.

    `versions` limits the update to these versions; None allows any version.
    """
    rows = components().database.execute(
        _update_task_sql(tuple(sorted(values)), versions is not None),
        {**values, **caller._asdict(), "task_id": task_id, "versions": versions},
    )
    return rows[0] if rows else None


@cache
def _delete_task_sql(is_guarded: bool) -> str:
    return f"""
        /* delete_task */
        WITH owner AS (
          SELECT users.id
          FROM users
          JOIN sessions ON {LIVE_SESSION}
          WHERE users.id = %(user_id)s::uuid
          FOR NO KEY UPDATE OF users
        )
        DELETE FROM tasks
        USING owner
        WHERE tasks.user_id = owner.id
          AND tasks.id = %(task_id)s::uuid
          {IF_VERSION if is_guarded else ""}
        RETURNING tasks.id
        """


def delete_task(caller: Caller, task_id: str, versions: list[int] | None) -> bool:
    """Delete a task and return whether one was deleted.

    `versions` limits the deletion to these versions; None allows any version. A trigger keeps the
    task for 30 days. The statement locks the user first, as the deletion of an account does, so
    that the two can't deadlock.
    """
    return bool(
        components().database.execute(
            _delete_task_sql(versions is not None),
            {**caller._asdict(), "task_id": task_id, "versions": versions},
        )
    )
