"""What a statement reads does not grow with the table: EXPLAIN on 1,000 users x 1,000 tasks."""

import inspect
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pytest

from taskflow import auth, create_app, tasks
from taskflow.tasks import service
from taskflow.config import Config, load_config
from taskflow.db import Database, Params, Row, Statement, database
from taskflow.release import apply_schema
from taskflow.tasks.headers import IdempotencyKey
from taskflow.tasks.schemas import SORTS
from tests.conftest import SECRET, run_sql

USERS, TASKS = 1000, 1000  # tasks of each user
LIMIT = 20

USER_SQL = """
INSERT INTO users (email, email_key, password_hash, task_count)
SELECT email, email, 'hash', %s
FROM (SELECT n || '@example.com' AS email FROM generate_series(1, %s) AS n);

INSERT INTO sessions (user_id, expires_at)
SELECT id, now() + n * interval '1 day' FROM users, generate_series(-1, 3) AS n;

INSERT INTO refresh_tokens (session_id) SELECT id FROM sessions, generate_series(1, 3);

INSERT INTO idempotency_keys (user_id, key, body_digest, task_id)
SELECT id, n, 'digest', id FROM users, generate_series(1, 5) AS n;
"""

# By number, not by user, so that a user's tasks lie scattered, as they do in life.
TASK_SQL = """
SELECT setseed(0.5);

INSERT INTO tasks (user_id, title, description, status, priority, tags, due_at, due_is_day,
                   created_at, updated_at)
SELECT id,
       (ARRAY['Write', 'read', 'Review', 'plan'])[ceil(random() * 4)] || ' the '
       || (ARRAY['report', 'Report', 'invoice', 'letter', 'budget'])[ceil(random() * 5)]
       || ' of ' || mod(n, 100),
       CASE WHEN n = 500 THEN 'About a zebra.'
            WHEN mod(n, 4) > 0 THEN 'For ' || (ARRAY['Ann', 'Bob', 'Carol'])[ceil(random() * 3)]
       END,
       (ARRAY['pending', 'in_progress', 'completed'])[ceil(random() * 3)],
       (ARRAY['low', 'medium', 'high'])[ceil(random() * 3)],
       CASE WHEN n = 500 THEN '{work,rare}' WHEN mod(n, 3) = 0 THEN '{work,home}' ELSE '{}' END::text[],
       CASE WHEN mod(n, 3) > 0
            THEN '2026-01-01Z'::timestamptz + ceil(random() * 1000) * interval '1 day' -
                 mod(n, 3) * interval '1 microsecond'
       END,
       mod(n, 3) = 1,
       '2026-01-01Z'::timestamptz + n * interval '1 hour' + random() * interval '2 hours',
       '2027-01-01Z'::timestamptz + random() * interval '100 days'
FROM (SELECT id, n FROM users, generate_series(%s, %s) AS n ORDER BY n);
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
    "all of them": {
        "status": ["completed", "in_progress"],
        "priority": ["high", "low"],
        "tag": ["work"],
        "dueAfter": date(2026, 6, 1),
        "dueBefore": date(2028, 6, 1),
        "q": "report",
    },
}


class ExplainingDatabase(Database):
    """A database that explains each statement, then runs it, and keeps the plans by name."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.plans: list[tuple[str, dict[str, Any], int]] = []

    @contextmanager
    def transaction(self) -> Iterator[Statement]:
        with super().transaction() as run:
            yield partial(self._explain_and_run, run)

    def execute(self, sql: str, params: Params) -> list[Row]:
        with self.transaction() as run:
            return run(sql, params)

    def query(self, sql: str, params: Params, timeout: float | None = None) -> list[Row]:
        return self.execute(sql, params)

    def _explain_and_run(self, run: Statement, sql: str, params: Params) -> list[Row]:
        run("SAVEPOINT explained", {})
        [[[plan]]] = run(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
        # What triggers and foreign keys read is in no plan.
        [[scanned]] = run("SELECT sum(seq_tup_read)::int FROM pg_stat_xact_user_tables", {})
        run("ROLLBACK TO explained", {})
        self.plans.append((re.search(r"/\* (\w+) \*/", sql)[1], plan["Plan"], scanned))
        return run(sql, params)


@pytest.fixture(scope="module")
def db(empty_database: Callable[[], str]) -> Iterator[ExplainingDatabase]:
    """A full database, that of the current application; its statements are explained."""
    environ = {"DATABASE_URL": empty_database(), "JWT_SECRET": SECRET}
    config = load_config(production=False, environ=environ)
    url = config.database_url or ""
    apply_schema(config)
    indexes = run_sql(
        url,
        """
        SELECT format('DROP INDEX %I', indexname)
        FROM pg_indexes
        WHERE tablename = 'tasks' AND indexname <> 'tasks_pkey'
        """,
    )
    for (drop,) in indexes:  # built at the end in a fifth of the time
        run_sql(url, drop)
    run_sql(url, USER_SQL, (TASKS - 1, USERS))  # there is room for one more
    half = TASKS // 2
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda part: run_sql(url, TASK_SQL, part), [(1, half), (half + 1, TASKS)]))
    apply_schema(config)
    run_sql(url, "ANALYZE")
    app = create_app(config)
    app.extensions["database"] = db = ExplainingDatabase(config)
    with app.app_context():
        yield db


@pytest.fixture(scope="module")
def owner(db: ExplainingDatabase) -> str:
    """The id of a user with a thousand tasks."""
    [(user_id,)] = db.query("/* owner */ SELECT id::text FROM users OFFSET 700 LIMIT 1", {})
    return user_id


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Give each scan of a table or an index in a plan, and how many rows it read."""
    if plan["Node Type"].endswith("Scan") and plan.keys() & {"Relation Name", "Index Name"}:
        kinds = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        rows = sum(plan.get(kind, 0) for kind in kinds)
        yield f"{plan['Node Type']} {plan.get('Index Name')}", rows * plan["Actual Loops"]
    for child in plan.get("Plans", ()):
        yield from scans(child)


def assert_reads(db: ExplainingDatabase, rows: int, blocks: int) -> None:
    plans, db.plans = db.plans, []
    for name, plan, scanned in plans:
        print(
            name,
            rows,
            list(scans(plan)),
            plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
            scanned,
        )


def walk(owner, sort, filters):
    cursor = None
    while True:
        page = tasks.service.list_tasks(
            owner,
            {"limit": LIMIT, "sort": sort, **filters, **({"cursor": cursor} if cursor else {})},
        )
        cursor = page.next_cursor
        if not cursor:
            break


@pytest.mark.parametrize("sort", SORTS)
def test_a_page_of_each_sort_reads_no_more_than_the_page(db, owner, sort):
    db.plans.clear()
    walk(owner, sort, {})
    assert_reads(db, LIMIT + 1, 0)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_a_page_of_each_filter_reads_no_more_than_the_users_tasks(db, owner, filters, sort):
    db.plans.clear()
    walk(owner, sort, filters)
    assert_reads(db, TASKS, 0)
