"""The command `purge`, which deletes expired data to keep the tables small."""

from taskflow.config import Config
from taskflow.database import Database
from taskflow.tasks.sync_queries import KEPT_DAYS

BATCH = 5000  # rows that a statement deletes, so that no statement holds locks for long

DELETE_EXPIRED_SESSIONS = """
/* purge */
DELETE FROM sessions
WHERE id IN (
  SELECT id
  FROM sessions
  WHERE expires_at < now()
  LIMIT %(batch)s
  FOR UPDATE SKIP LOCKED
)
RETURNING 1
"""
DELETE_OLD_KEYS = """
/* purge */
DELETE FROM idempotency_keys
WHERE (user_id, key) IN (
  SELECT user_id, key
  FROM idempotency_keys
  WHERE created_at < now() - interval '24 hours'
  LIMIT %(batch)s
  FOR UPDATE SKIP LOCKED
)
RETURNING 1
"""
# The statement locks the users first, as every write of tasks does. The feed of changes compares
# the change number of a client with `purged_number`.
FORGET_DELETED_TASKS = f"""
/* purge */
WITH old AS (
  SELECT user_id, deleted_tasks.id
  FROM deleted_tasks
  JOIN users ON users.id = user_id
  WHERE deleted_at <= now() - {KEPT_DAYS} * interval '1 day'
  LIMIT %(batch)s
  FOR NO KEY UPDATE OF users SKIP LOCKED
), forgotten AS (
  DELETE FROM deleted_tasks
  USING old
  WHERE deleted_tasks.user_id = old.user_id
    AND deleted_tasks.id = old.id
    AND deleted_at <= now() - {KEPT_DAYS} * interval '1 day'
  RETURNING deleted_tasks.user_id, deleted_tasks.version
), raised AS (
  UPDATE users
  SET purged_number = GREATEST(purged_number, last.version)
  FROM (SELECT user_id, max(version) AS version FROM forgotten GROUP BY user_id) AS last
  WHERE users.id = last.user_id
)
SELECT 1
FROM forgotten
"""


def purge(config: Config) -> str:
    """Delete expired data and return the line to print; raises as `Database` does."""
    database = Database(config)
    sessions = _delete_in_batches(database, DELETE_EXPIRED_SESSIONS)
    keys = _delete_in_batches(database, DELETE_OLD_KEYS)
    tasks = _delete_in_batches(database, FORGET_DELETED_TASKS)
    return (
        f"taskflow: deleted {sessions} sessions and {keys} idempotency keys, and forgot {tasks}"
        " deleted tasks"
    )


def _delete_in_batches(database: Database, statement: str) -> int:
    total = 0
    while deleted := len(database.execute(statement, {"batch": BATCH})):
        total += deleted
    return total
