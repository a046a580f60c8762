"""The SQL of the feed of changes, the summary and restored tasks, one statement a function."""

from uuid import UUID

from taskflow.database import Row
from taskflow.database.sql import LIVE_SESSION
from taskflow.http.context import Caller, components
from taskflow.tasks.sql import task_json

KEPT_DAYS = 30  # how long deleted tasks are kept
FIRST_ID, LAST_ID = str(UUID(int=0)), str(UUID(int=2**128 - 1))

# The identity of the database's history. A restored backup differs from its original in at least
# one part, unless it is a copy of the data folder (docs/backups.md). In the order of the parts,
# these change them: initdb, the recovery of a base backup, a copy of the database, and tables that
# are filled again.
_HISTORY = """
SELECT concat_ws('-', system_identifier, timeline_id, pg_database.oid,
                 pg_relation_filenode('users'))
FROM pg_control_system(), pg_control_checkpoint(), pg_database
WHERE datname = current_database()
"""

_LIST_CHANGES = f"""
        /* list_changes */
        SELECT users.change_number, ({_HISTORY}),
               users.purged_number > COALESCE(%(base)s::integer, 0)
               -- The deletions of one batch have the same version, and a page may end among them.
               AND (users.purged_number, '{LAST_ID}'::uuid)
                   > (%(version)s::integer, %(id)s::uuid)
               OR EXISTS (
                 SELECT 1
                 FROM deleted_tasks
                 WHERE user_id = users.id
                   AND (version, id) > (%(version)s::integer, %(id)s::uuid)
                   AND version > COALESCE(%(base)s::integer, 0)
                   AND deleted_at <= now() - {KEPT_DAYS} * interval '1 day'
               ),
               page.version, page.id, page.json
        FROM users
        JOIN sessions ON {LIVE_SESSION}
        LEFT JOIN LATERAL (
          SELECT feed.version, feed.id::text,
                 CASE WHEN tasks.id IS NOT NULL THEN {task_json("tasks")} END AS json
          FROM (
            SELECT version, id
            FROM tasks
            WHERE user_id = users.id
              AND users.change_number IS DISTINCT FROM %(known)s::integer
              AND (version, id) > (%(version)s::integer, %(id)s::uuid)
            UNION ALL
            SELECT version, id
            FROM deleted_tasks
            WHERE user_id = users.id
              AND users.change_number IS DISTINCT FROM %(known)s::integer
              AND (version, id) > (%(version)s::integer, %(id)s::uuid)
              AND version > COALESCE(%(base)s::integer, users.change_number)
            ORDER BY version, id
            LIMIT %(limit)s::integer
          ) AS feed
          LEFT JOIN tasks ON tasks.user_id = users.id
            AND tasks.id = feed.id
            AND tasks.version = feed.version
          ORDER BY feed.version, feed.id
        ) AS page ON true
        WHERE users.id = %(user_id)s::uuid
        """


def list_changes(
    caller: Caller, version: int, after_id: str, base: int | None, limit: int, known: int | None
) -> list[Row]:
    """Return the tasks and deletions after a version and an id, in order of change.

    Only deletions after `base` count; None stands for the user's change number. Each row has the
    user's change number, the id of the database's history, whether some of these deletions are no
    longer kept, and a version, an id and the task's JSON, which is None for a deletion. The last
    three are None in the one row of an empty page. The page is also empty if the change number is
    `known`. Returns no row after the end of the session.
    """
    return components().database.query(
        _LIST_CHANGES,
        {
            **caller._asdict(),
            "version": version,
            "id": after_id,
            "base": base,
            "limit": limit,
            "known": known,
        },
    )


_SUMMARIZE = f"""
        /* summarize_tasks */
        WITH own AS MATERIALIZED (
          SELECT status, priority, tags, due_at < now() AND status <> 'completed' AS is_overdue
          FROM tasks
          WHERE user_id = %(user_id)s::uuid
        )
        SELECT users.change_number,
               (SELECT count(*) FROM own WHERE is_overdue)::integer,
               (SELECT json_build_object(
                  'total', count(*),
                  'limit', %(limit)s::integer,
                  'byStatus', json_build_object(
                    'pending', count(*) FILTER (WHERE status = 'pending'),
                    'in_progress', count(*) FILTER (WHERE status = 'in_progress'),
                    'completed', count(*) FILTER (WHERE status = 'completed')),
                  'byPriority', json_build_object(
                    'low', count(*) FILTER (WHERE priority = 'low'),
                    'medium', count(*) FILTER (WHERE priority = 'medium'),
                    'high', count(*) FILTER (WHERE priority = 'high')),
                  'overdue', count(*) FILTER (WHERE is_overdue),
                  'tags', COALESCE(
                    (SELECT json_agg(json_build_object('tag', tag, 'count', count)
                                     ORDER BY count DESC, tag COLLATE "C")
                     FROM (SELECT normalize(tag, NFC) AS tag, count(*) AS count
                           FROM own, unnest(tags) AS tag
                           GROUP BY 1) AS tags),
                    '[]'))::text
                FROM own)
        FROM users
        JOIN sessions ON {LIVE_SESSION}
        WHERE users.id = %(user_id)s::uuid
        """


def summarize_tasks(caller: Caller, limit: int) -> Row | None:
    """Return the user's change number, how many tasks are overdue, and the summary's JSON.

    Returns None after the end of the session.
    """
    rows = components().database.query(_SUMMARIZE, {**caller._asdict(), "limit": limit})
    return rows[0] if rows else None


_KEPT = f"""deleted_tasks.id = %(task_id)s::uuid
            AND deleted_at > now() - {KEPT_DAYS} * interval '1 day'"""

# The first statement locks the user, so that the second one sees the result of other writes.
_RESTORE_TASK = f"""
        /* restore_task */
        SELECT 1
        FROM users
        WHERE id = %(user_id)s::uuid
        FOR NO KEY UPDATE;

        WITH owner AS (
          UPDATE users
          SET task_count = task_count + 1, change_number = change_number + 1
          FROM sessions
          WHERE users.id = %(user_id)s::uuid
            AND users.task_count < %(limit)s
            AND {LIVE_SESSION}
            AND EXISTS (SELECT 1 FROM deleted_tasks WHERE user_id = users.id AND {_KEPT})
          RETURNING users.id, users.change_number
        ), kept AS (
          DELETE FROM deleted_tasks
          USING owner
          WHERE deleted_tasks.user_id = owner.id
            AND {_KEPT}
          RETURNING task || jsonb_build_object('version', change_number, 'updated_at', now())
            AS task
        ), restored AS (
          INSERT INTO tasks
          SELECT task.*
          FROM kept, jsonb_populate_record(NULL::tasks, kept.task) AS task
          RETURNING *
        )
        SELECT version, {task_json("restored")}
        FROM restored
        UNION ALL
        SELECT version, {task_json("tasks")}
        FROM tasks
        JOIN sessions ON {LIVE_SESSION}
        WHERE tasks.user_id = %(user_id)s::uuid
          AND tasks.id = %(task_id)s::uuid
        """


def restore_task(caller: Caller, task_id: str, limit: int) -> Row | None:
    """Restore a deleted task, or find one that is not deleted; return its version and JSON.

    Returns None at the user's limit, after the end of the session, and for an unknown task;
    `find_restorable` tells which.
    """
    rows = components().database.script(
        _RESTORE_TASK, {**caller._asdict(), "task_id": task_id, "limit": limit}
    )
    return rows[0] if rows else None


def find_restorable(caller: Caller, task_id: str) -> Row:
    """Return whether the session is live, and whether the task can be restored."""
    [row] = components().database.query(
        f"""
        /* find_restorable */
        SELECT EXISTS (SELECT 1 FROM sessions WHERE {LIVE_SESSION}),
               EXISTS (
                 SELECT 1
                 FROM deleted_tasks
                 WHERE user_id = %(user_id)s::uuid
                   AND {_KEPT}
               )
        """,
        {**caller._asdict(), "task_id": task_id},
    )
    return row
