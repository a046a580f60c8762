"""What a release and a scheduler do: apply the schema, delete what has ended."""

import time
from dataclasses import replace
from pathlib import Path

from taskflow.config import Config
from taskflow.db import Database
from taskflow.errors import ServiceError

SCHEMA = Path(__file__).parent.parent / "schema.sql"
TIMEOUT = 300  # seconds: an index over millions of rows
ATTEMPTS, PAUSE = 20, 2  # times, and seconds in between: somebody's transaction is open
_WAITED = ("55P03", "40P01")  # lock_not_available, deadlock_detected
BATCH = 5000  # rows a statement, so that none holds locks for long

DELETE_ENDED_SESSIONS = """
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


def apply_schema(config: Config) -> None:
    """Bring the database up to schema.sql; raises what PostgreSQL or the connection raises.

    Safe at any time and twice at once: the file is one transaction under one lock, which makes
    what is missing, waits for nobody longer than others can wait behind it, and is tried again.
    What can't be applied is left as it was.
    """
    database = Database(replace(config, db_statement_timeout=TIMEOUT))
    for attempt in range(1, ATTEMPTS + 1):
        try:
            database.execute(SCHEMA.read_text(), {})
            return
        except ServiceError as error:
            waited = getattr(error.__cause__, "pgcode", None) in _WAITED
            if not waited or attempt == ATTEMPTS:
                raise
            time.sleep(PAUSE)


def purge(config: Config) -> tuple[int, int]:
    """Delete expired sessions and Idempotency-Keys over a day old; give how many of each.

    Nothing depends on it but the size of the tables. Raises what the connection raises.
    """
    database = Database(config)

    def repeat(statement: str) -> int:
        total = deleted = len(database.execute(statement, {"batch": BATCH}))
        while deleted >= BATCH:
            deleted = len(database.execute(statement, {"batch": BATCH}))
            total += deleted
        return total

    return repeat(DELETE_ENDED_SESSIONS), repeat(DELETE_OLD_KEYS)
