"""Updates of stored values that earlier versions or an operator's SQL have left out of date.

The command `release` runs them. Every function goes through its table once, in batches, and may run
while the service serves.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

from taskflow.auth.canonical import canonical_email
from taskflow.config import Config
from taskflow.database import Database, Row
from taskflow.database.migrations import TIMEOUT
from taskflow.errors import ServiceError
from taskflow.tasks.words import stored_words

BATCH = 5000  # rows
_FIRST = "00000000-0000-0000-0000-000000000000"

_FIND_EMAILS = """
/* renew_email_keys */
SELECT id::text, email, email_key
FROM users
WHERE id > %(after)s::uuid
  AND octet_length(email) > char_length(email)
ORDER BY id
LIMIT %(batch)s
"""
_RENEW_EMAIL_KEY = """
/* renew_email_keys */
UPDATE users
SET email_key = %(key)s
WHERE id = %(id)s::uuid
  AND email = %(email)s
"""
_FIND_TASKS = """
/* compute_words */
SELECT user_id::text, id::text, version, title, description
FROM tasks
WHERE (user_id, id) > (%(after)s::uuid, %(after_id)s::uuid)
  AND (title_words IS NULL OR description_words IS NULL)
ORDER BY user_id, id
LIMIT %(batch)s
"""
# A task whose version has changed, or that another transaction has locked, waits for the next
# release.
_ITEMS = """
  SELECT tasks.user_id, tasks.id, item.title_words, item.description_words
  FROM jsonb_to_recordset(%(items)s::jsonb) AS item(
    user_id uuid, id uuid, version integer, title_words text, description_words text)
  JOIN tasks USING (user_id, id, version)
  FOR NO KEY UPDATE OF tasks SKIP LOCKED
"""
# A trigger gives the task a new version unless `title_words` changes. Where only the words of the
# description are missing, `title_words` is therefore set to null first.
_COMPUTE_WORDS = f"""
/* compute_words */
WITH items AS ({_ITEMS})
UPDATE tasks
SET title_words = NULL
FROM items
WHERE tasks.user_id = items.user_id
  AND tasks.id = items.id
  AND tasks.title_words IS NOT NULL;

WITH items AS ({_ITEMS})
UPDATE tasks
SET title_words = items.title_words, description_words = items.description_words
FROM items
WHERE tasks.user_id = items.user_id
  AND tasks.id = items.id
  AND tasks.title_words IS NULL
RETURNING 1
"""
_FIND_WRONG_COUNTS = """
/* correct_task_counts */
SELECT id::text
FROM users
WHERE id > %(after)s::uuid
  AND task_count <> (SELECT count(*) FROM tasks WHERE user_id = users.id)
ORDER BY id
LIMIT %(batch)s
"""
# The first statement locks the user, so that the second one counts the result of other writes.
_CORRECT_TASK_COUNT = """
/* correct_task_counts */
SELECT 1
FROM users
WHERE id = %(id)s::uuid
FOR NO KEY UPDATE;

UPDATE users
SET task_count = counted.count
FROM (SELECT count(*)::integer FROM tasks WHERE user_id = %(id)s::uuid) AS counted
WHERE id = %(id)s::uuid
  AND task_count <> counted.count
RETURNING 1
"""
_SHORTEN_SESSIONS = """
/* shorten_sessions */
UPDATE sessions
SET expires_at = created_at + %(max_days)s * interval '1 day'
WHERE id IN (
  SELECT id
  FROM sessions
  WHERE expires_at > created_at + %(max_days)s * interval '1 day'
  LIMIT %(batch)s
  FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING 1
"""


def bring_up_to_date(config: Config) -> list[str]:
    """Update the values that are out of date, and return a description of each change.

    Raises as `Database` does.
    """
    database = Database(replace(config, db_statement_timeout=TIMEOUT))
    renewed, apart = _renew_email_keys(database)
    counts = {
        "renewed the keys of {} emails": renewed,
        "computed the words of {} tasks": _compute_words(database),
        "corrected the task counts of {} users": _correct_task_counts(database),
        "shortened {} sessions": _shorten_sessions(database, config.session_max_days),
    }
    done = [text.format(count) for text, count in counts.items() if count]
    if apart:
        done.append(f"left apart, though their emails are those of others: {', '.join(apart)}")
    return done


def _renew_email_keys(database: Database) -> tuple[int, list[str]]:
    """Renew keys, and return how many, and the emails whose key belongs to another account."""
    renewed, apart = 0, []
    for user_id, email, stored_key in _pages(database, _FIND_EMAILS):
        try:
            key = canonical_email(email)
        except ValueError:  # IDNA refuses the domain: the account keeps its key
            continue
        if key == stored_key:
            continue
        try:
            database.execute(_RENEW_EMAIL_KEY, {"id": user_id, "email": email, "key": key})
            renewed += 1
        except ServiceError as error:
            if error.code != "email_taken":
                raise
            apart.append(email)
    return renewed, apart


def _compute_words(database: Database) -> int:
    total, after = 0, (_FIRST, _FIRST)
    while rows := database.query(
        _FIND_TASKS, {"after": after[0], "after_id": after[1], "batch": BATCH}
    ):
        items = [
            {
                "user_id": user_id,
                "id": task_id,
                "version": version,
                "title_words": stored_words(title),
                "description_words": stored_words(description),
            }
            for user_id, task_id, version, title, description in rows
        ]
        total += len(database.script(_COMPUTE_WORDS, {"items": json.dumps(items)}))
        after = rows[-1][:2]
    return total


def _correct_task_counts(database: Database) -> int:
    return sum(
        len(database.script(_CORRECT_TASK_COUNT, {"id": user_id}))
        for (user_id,) in _pages(database, _FIND_WRONG_COUNTS)
    )


def _shorten_sessions(database: Database, max_days: int) -> int:
    """Apply a lower SESSION_MAX_DAYS to existing sessions, and return how many were shortened."""
    total = 0
    while shortened := len(
        database.execute(_SHORTEN_SESSIONS, {"max_days": max_days, "batch": BATCH})
    ):
        total += shortened
    return total


def _pages(database: Database, sql: str) -> Iterator[Row]:
    """Yield the rows of a statement that returns them by id, a batch at a time."""
    after = _FIRST
    while rows := database.query(sql, {"after": after, "batch": BATCH}):
        yield from rows
        after = rows[-1][0]
