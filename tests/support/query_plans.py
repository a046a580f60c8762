"""A full database, and a connection to it that explains each statement."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, NamedTuple

from taskflow.config import Config
from taskflow.database import Database, Params, Row
from tests.support.database import run_sql

NAME = re.compile(r"/\* (\w+) \*/")  # of a statement
INSERT_USERS = """
INSERT INTO users (email, email_key, password_hash, task_count)
SELECT n || '@example.com', n || '@example.com', 'hash', %s FROM generate_series(1, %s) AS n;

INSERT INTO sessions (user_id, expires_at)
SELECT id, now() + n * interval '1 day' FROM users, generate_series(-1, 3) AS n;

INSERT INTO refresh_tokens (session_id) SELECT id FROM sessions, generate_series(1, 3);
"""


# By number, not by user, so that the tasks of a user lie scattered, as in production.
INSERT_TASKS = """
SELECT setseed(0.5);

INSERT INTO tasks (user_id, title, description, status, priority, tags, due_at, due_is_day,
                   created_at, updated_at)
SELECT id,
       (ARRAY['Write', 'read', 'Review', 'plan'])[ceil(random() * 4)] || ' the '
       || (ARRAY['report', 'Report', 'invoice', 'letter', 'budget'])[ceil(random() * 5)]
       || ' of ' || mod(n, 100),
       CASE WHEN n = 500 THEN 'About a zebra.' WHEN mod(n, 4) > 0 THEN 'For Ann and Bob.' END,
       (ARRAY['pending', 'in_progress', 'completed'])[ceil(random() * 3)],
       (ARRAY['low', 'medium', 'high'])[ceil(random() * 3)],
       CASE WHEN n = 500 THEN '{work,rare}' WHEN mod(n, 3) = 0 THEN '{work,home}' ELSE '{}'
       END::text[],
       CASE WHEN mod(n, 3) > 0
            THEN '2026-01-01Z'::timestamptz + ceil(random() * 1000) * interval '1 day' -
                 mod(n, 3) * interval '1 microsecond'
       END,
       mod(n, 3) = 1,
       '2026-01-01Z'::timestamptz + n * interval '1 hour' + random() * interval '2 hours',
       '2027-01-01Z'::timestamptz + random() * interval '100 days'
FROM (SELECT id, n FROM users, generate_series(%s, %s) AS n ORDER BY n) AS numbers;
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
UNINDEXED = "SELECT sum(seq_tup_read)::int FROM pg_stat_xact_user_tables"


class Plan(NamedTuple):
    """The plan of a statement, and the number of rows that it read without an index."""

    statement: str
    root: dict[str, Any]
    unindexed: int


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
    """A database that explains each statement, rolls its effects back, and runs it."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.plans: list[Plan] = []

    def execute(self, sql: str, params: Params) -> list[Row]:
        [statement] = NAME.findall(sql)
        pool = self._open_pool()
        conn = pool.checkout()
        try:
            run = partial(conn.run, seconds=60)
            run("BEGIN", {})
            for part in sql.split(";"):
                run("SAVEPOINT explained", {})
                [[[plan]]] = run(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {part}", params)
                # The rows that a cascade reads are in no plan.
                [[unindexed]] = run(UNINDEXED, {})
                run("ROLLBACK TO explained", {})
                self.plans.append(Plan(statement, plan["Plan"], unindexed))
                rows = run(part, params)
            run("COMMIT", {})
        finally:
            pool.checkin(conn)
        return rows

    def query(self, sql: str, params: Params, within: float | None = None) -> list[Row]:
        return self.execute(sql, params)
