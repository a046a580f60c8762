"""A full database, and a connection to it that explains each statement."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, NamedTuple

import psycopg2

from taskflow.config import Config
from taskflow.database import Database, Params, Row
from taskflow.database.errors import code_of
from taskflow.database.prepared import prepared
from taskflow.errors import ServiceError
from tests.support.database import run_sql

NAME = re.compile(r"/\* (\w+) \*/")  # of a statement
INSERT_USERS = """
INSERT INTO users (email, email_key, password_hash, task_count, change_number)
SELECT n || '@example.com', n || '@example.com', 'hash', %(tasks)s, %(tasks)s
FROM generate_series(1, %(users)s) AS n;

INSERT INTO sessions (user_id, expires_at)
SELECT id, now() + n * interval '1 day' FROM users, generate_series(-1, 3) AS n;

INSERT INTO refresh_tokens (session_id) SELECT id FROM sessions, generate_series(1, 3);
"""


# Tasks are inserted in turns of all users, so that a user's tasks are scattered, as in production.
INSERT_TASKS = """
SELECT setseed(0.5);

INSERT INTO tasks (user_id, title, title_words, description, description_words, status, priority,
                   tags, due_at, due_is_day, created_at, updated_at, version)
SELECT id, title, ' ' || lower(title), description,
       COALESCE(' ' || lower(translate(description, '.', ' ')), ''),
       status, priority, tags, due_at, due_is_day, created_at, updated_at, n
FROM (
SELECT id, n,
       (ARRAY['Write', 'read', 'Review', 'plan'])[ceil(random() * 4)] || ' the '
       || (ARRAY['report', 'Report', 'invoice', 'letter', 'budget'])[ceil(random() * 5)]
       || ' of ' || mod(n, 100) AS title,
       CASE WHEN n = 500 THEN 'About a zebra.' WHEN mod(n, 4) > 0 THEN 'For Ann and Bob.' END
       AS description,
       (ARRAY['pending', 'in_progress', 'completed'])[ceil(random() * 3)] AS status,
       (ARRAY['low', 'medium', 'high'])[ceil(random() * 3)] AS priority,
       CASE WHEN n = 500 THEN '{work,rare}' WHEN mod(n, 3) = 0 THEN '{work,home}' ELSE '{}'
       END::text[] AS tags,
       CASE WHEN mod(n, 3) > 0
            THEN '2026-01-01Z'::timestamptz + ceil(random() * 1000) * interval '1 day' -
                 mod(n, 3) * interval '1 microsecond'
       END AS due_at,
       mod(n, 3) = 1 AS due_is_day,
       '2026-01-01Z'::timestamptz + n * interval '1 hour' + random() * interval '2 hours'
       AS created_at,
       '2027-01-01Z'::timestamptz + random() * interval '100 days' AS updated_at
FROM (SELECT id, n FROM users, generate_series(%(first)s, %(last)s) AS n ORDER BY n) AS numbers
) AS rows;
"""
FILTERS: dict[str, dict[str, Any]] = {
    "a status": {"status": ["completed"]},
    "two statuses": {"status": ["completed", "pending"]},
    "a priority": {"priority": ["high"]},
    "a common tag": {"tag": ["work"]},
    "a rare tag": {"tag": ["work", "rare"]},
    "a tag of nobody": {"tag": ["nobody"]},
    "due before a day": {"dueBefore": date(2026, 2, 1)},
    "due after a day": {"dueAfter": date(2028, 1, 1)},
    "due in a month": {"dueAfter": date(2027, 1, 1), "dueBefore": date(2027, 2, 1)},
    "due never": {"dueAfter": datetime(2999, 1, 1, tzinfo=UTC)},
    "a common word": {"q": "report"},
    "a rare word": {"q": "zebra"},
    "a word of nobody": {"q": "quagga"},
    "a common beginning": {"q": "re"},
    "two common words": {"q": "report ann"},
    "a common word and a rare one": {"q": "report zebra"},
    "a word and a priority": {"q": "report", "priority": ["high"]},
    "a status, a tag and a month": {
        "status": ["pending"],
        "tag": ["work"],
        "dueAfter": date(2027, 1, 1),
        "dueBefore": date(2027, 2, 1),
    },
}
INDEXES = """
SELECT indexname, indexdef
FROM pg_indexes
WHERE tablename = 'tasks' AND indexname <> 'tasks_pkey'
"""


class Plan(NamedTuple):
    """How a statement was run: its name and the root of its plan."""

    statement: str
    root: dict[str, Any]

    @property
    def blocks(self) -> int:
        """How many blocks of 8 KB the statement read."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])

    @property
    def wal(self) -> int:
        """How many bytes of WAL the statement wrote, without its triggers."""
        return int(self.root.get("WAL Bytes", 0))


@contextmanager
def without_indexes(url: str) -> Iterator[None]:
    """Drop the indexes on tasks and create them again: filling the table takes half as long."""
    indexes = run_sql(url, INDEXES)
    for name, _ in indexes:
        run_sql(url, f"DROP INDEX {name}")
    yield
    for _, definition in indexes:
        run_sql(url, definition)


class ExplainingDatabase(Database):
    """A database that explains each statement, rolls that back, and then runs the statement.

    Prepared statements are explained with the generic plan that they have in production, unless
    `plan_cache_mode` is `force_custom_plan`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.plans: list[Plan] = []
        self.plan_cache_mode = "force_generic_plan"

    def query(
        self, sql: str, params: Params, within: float | None = None, prepare: bool = True
    ) -> list[Row]:
        return self._explain([sql], params, is_prepared=prepare)

    def execute(self, sql: str, params: Params) -> list[Row]:
        return self._explain([sql], params, is_prepared=True)

    def script(self, sql: str, params: Params | None = None) -> list[Row]:
        return self._explain(sql.split(";"), params or {}, is_prepared=False)

    def _explain(self, parts: list[str], params: Params, is_prepared: bool) -> list[Row]:
        [statement] = NAME.findall(";".join(parts))
        pool = self._open_pool()
        conn = pool.checkout()
        try:
            run = partial(conn.run, seconds=60)
            run("BEGIN", {})
            for part in parts:
                run("SAVEPOINT explained", {})
                run(f"SET LOCAL plan_cache_mode = {self.plan_cache_mode}", {})
                command = _prepare(run, part, params) if is_prepared else part
                options = "ANALYZE, BUFFERS, WAL, FORMAT JSON"
                [[[plan]]] = run(f"EXPLAIN ({options}) {command}", params)
                run("ROLLBACK TO explained", {})
                run("DEALLOCATE ALL", {})
                self.plans.append(Plan(statement, plan["Plan"]))
                rows = run(part, params)
            run("COMMIT", {})
        except psycopg2.Error as error:
            run("ROLLBACK", {})
            raise ServiceError(code_of(error) or "internal_error") from error
        finally:
            pool.checkin(conn)
        return rows


def _prepare(run: Any, sql: str, params: Params) -> str:
    statement = prepared(sql)
    run(statement.prepare, params)
    for _ in range(2):  # the first time it reads the catalog too
        run("SAVEPOINT warm", {})
        run(statement.execute, params)
        run("ROLLBACK TO warm", {})
    return statement.execute
