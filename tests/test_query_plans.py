"""What a statement reads does not grow with the table: EXPLAIN on 1,000 users x 1,000 tasks."""

import inspect
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from taskflow import create_app
from taskflow.auth import queries as accounts
from taskflow.config import Config, load_config
from taskflow.db import Database
from taskflow.maintenance import apply_schema
from taskflow.pool import Params, Row
from taskflow.tasks import queries, service
from taskflow.tasks.headers import IdempotencyKey
from taskflow.tasks.schemas import SORTS, TaskCreationSchema
from tests.conftest import SECRET, run_sql

USERS, TASKS = 1000, 1000  # tasks of each user
LIMIT = 20
FEW = 10
OTHER_BLOCKS = 300  # ways down indexes, catalogs, what a write touches; an index has 7,000
NAME = re.compile(r"/\* (\w+) \*/")  # of a statement

INSERT_USERS = """
INSERT INTO users (email, email_key, password_hash, task_count)
SELECT n || '@example.com', n || '@example.com', 'hash', %s FROM generate_series(1, %s) AS n;

INSERT INTO sessions (user_id, expires_at)
SELECT id, now() + n * interval '1 day' FROM users, generate_series(-1, 3) AS n;

INSERT INTO refresh_tokens (session_id) SELECT id FROM sessions, generate_series(1, 3);
"""

# By number, not by user, so that a user's tasks lie scattered, as they do in life.
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

INSERT_KEYS = """
INSERT INTO idempotency_keys (user_id, key, body_digest, task_id, created_at)
SELECT user_id, id, 'digest', id, now() - random() * interval '2 days'
FROM tasks
WHERE tags @> '{rare}';
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


UNINDEXED = "SELECT sum(seq_tup_read)::int FROM pg_stat_xact_user_tables"


class Plan(NamedTuple):
    """How a statement was run: its plan, and how many rows were read without an index."""

    statement: str
    root: dict[str, Any]
    unindexed: int


class ExplainingDatabase(Database):
    """A database that explains each statement, takes back what that did, and runs it."""

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
                # What a cascade reads is in no plan.
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


def names(module: ModuleType) -> set[str]:
    """Give the names of the statements of a module."""
    return set(NAME.findall(inspect.getsource(module)))


def scans(node: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Give each scan of a table or an index in a plan, and how many rows it read."""
    if node["Node Type"].endswith("Scan") and node.keys() & {"Relation Name", "Index Name"}:
        kinds = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        rows = node["Actual Loops"] * sum(node.get(kind, 0) for kind in kinds)
        yield f"{node['Node Type']}: {node.get('Index Name') or node['Relation Name']}", rows
    for child in node.get("Plans", ()):
        yield from scans(child)


def assert_bounded(plans: list[Plan], rows: int) -> None:
    """Assert that no scan read more rows than this, none without an index, and few blocks."""
    assert plans
    for plan in plans:
        read = list(scans(plan.root))
        blocks = plan.root["Shared Hit Blocks"] + plan.root["Shared Read Blocks"]
        seen = f"{plan.statement} read {read}, {blocks} blocks, {plan.unindexed} rows unindexed"
        assert max((count for _, count in read), default=0) <= rows, seen
        assert plan.unindexed == 0, seen
        assert blocks <= rows + OTHER_BLOCKS, seen


@pytest.fixture(scope="module")
def db(empty_database: Callable[[], str]) -> Iterator[ExplainingDatabase]:
    """A full database, that of the current application; its statements are explained."""
    environ = {"DATABASE_URL": empty_database(), "JWT_SECRET": SECRET}
    config = load_config(production=False, environ=environ)
    url = config.database_url or ""
    apply_schema(config)
    # To build the indexes at the end takes less than half of the time.
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 'tasks'"
    for (index,) in run_sql(url, f"{indexes} AND indexname <> 'tasks_pkey'"):
        run_sql(url, f"DROP INDEX {index}")
    run_sql(url, INSERT_USERS, (TASKS - 1, USERS))  # there is room for one more task
    half = TASKS // 2
    with ThreadPoolExecutor() as pool:
        parts = [(1, half), (half + 1, TASKS)]
        list(pool.map(lambda part: run_sql(url, INSERT_TASKS, part), parts))
    run_sql(url, INSERT_KEYS)
    apply_schema(config)
    run_sql(url, "ANALYZE")
    app = create_app(config)
    app.extensions["database"] = db = ExplainingDatabase(config)
    with app.app_context():
        yield db


@pytest.fixture
def owner(db: ExplainingDatabase) -> str:
    """The id of a user with a thousand tasks."""
    return accounts.find_credentials("700@example.com")[0]


@pytest.fixture
def plans(db: ExplainingDatabase, owner: str) -> list[Plan]:
    """The plans of the test's own statements."""
    db.plans.clear()
    return db.plans


def walk(owner: str, sort: str, filters: dict[str, Any], pages: int) -> None:
    """List the tasks of a user, page after page, up to a number of pages."""
    query = {"limit": LIMIT, "sort": sort, **filters}
    cursor = None
    for _ in range(pages):
        cursor = service.list_tasks(owner, query | {"cursor": cursor}).next_cursor
        if cursor is None:
            break


@pytest.mark.parametrize("sort", SORTS)
def test_a_page_of_a_sort_reads_its_own_rows(plans: list[Plan], owner: str, sort: str) -> None:
    walk(owner, sort, {}, pages=TASKS // LIMIT)
    assert len(plans) == TASKS // LIMIT
    assert_bounded(plans, LIMIT + 1)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_a_page_of_a_filter_reads_its_users_rows_at_most(
    plans: list[Plan], owner: str, filters: dict[str, Any], sort: str
) -> None:
    walk(owner, sort, filters, pages=2)
    assert_bounded(plans, TASKS)


def test_every_statement_on_one_task_reads_a_few_rows(plans: list[Plan], owner: str) -> None:
    key = IdempotencyKey("key", "digest")
    body = TaskCreationSchema().load({"title": "Feed the zebra"})
    task = service.create_task(owner, body, key)
    assert service.create_task(owner, body, key).replayed
    queries.delete_expired_key(owner, "1")
    queries.user_exists(owner)
    service.get_task(owner, task.task_id)
    service.update_task(owner, task.task_id, body, [task.version])
    service.delete_task(owner, task.task_id, None)
    assert {plan.statement for plan in plans} == names(queries) - {"list_tasks"}
    assert_bounded(plans, FEW)


def test_every_statement_on_an_account_reads_a_few_rows(plans: list[Plan]) -> None:
    accounts.insert_user("new@example.com", "new@example.com", "hash", None, None)
    user_id, password_hash = accounts.find_credentials("7@example.com")
    _, session_id, token_id = accounts.insert_session(user_id, password_hash, "b", None, None)
    accounts.rotate_refresh_token(session_id, token_id)
    accounts.find_user(user_id, session_id)
    accounts.list_sessions(user_id, session_id)
    accounts.find_password_hash(user_id, session_id)
    assert accounts.update_password(user_id, session_id, "b", "c")
    accounts.delete_session(user_id, session_id)
    assert accounts.delete_user(user_id, "c")
    assert {plan.statement for plan in plans} == names(accounts)
    assert_bounded(plans, FEW)
