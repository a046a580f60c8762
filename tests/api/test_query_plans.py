"""No statement reads more rows as the table grows: EXPLAIN on 1,000 users x 1,000 tasks."""

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from taskflow import create_app
from taskflow.auth import queries as accounts
from taskflow.config import load_config
from taskflow.database.migrations import apply_migrations
from taskflow.tasks import queries, service
from taskflow.tasks.headers import IdempotencyKey
from taskflow.tasks.schemas import SORTS, TaskCreationSchema
from tests.support.credentials import SECRET
from tests.support.database import run_sql
from tests.support.query_plans import (
    FILTERS,
    INSERT_TASKS,
    INSERT_USERS,
    NAME,
    ExplainingDatabase,
    Plan,
    without_indexes,
)

USERS, TASKS = 1000, 1000  # tasks of each user
LIMIT = 20
FEW = 10
OTHER_BLOCKS = 300  # index levels, catalogs and written blocks; a whole index has 7,000


INSERT_KEYS = """
INSERT INTO idempotency_keys (user_id, key, body_digest, task_id, created_at)
SELECT user_id, id, 'digest', id, now() - random() * interval '2 days'
FROM tasks
WHERE tags @> '{rare}';
"""


def names(module: ModuleType) -> set[str]:
    """Return the names of the statements of a module."""
    return set(NAME.findall(inspect.getsource(module)))


def scans(node: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield each scan of a table or an index in a plan, and the number of rows it read."""
    if node["Node Type"].endswith("Scan") and node.keys() & {"Relation Name", "Index Name"}:
        kinds = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        rows = node["Actual Loops"] * sum(node.get(kind, 0) for kind in kinds)
        yield f"{node['Node Type']}: {node.get('Index Name') or node['Relation Name']}", rows
    for child in node.get("Plans", ()):
        yield from scans(child)


def assert_bounded(plans: list[Plan], rows: int) -> None:
    """Assert that each scan used an index and read no more rows than this, and few blocks."""
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
    """Return a full database that explains its statements, for the current application."""
    environ = {"DATABASE_URL": empty_database(), "JWT_SECRET": SECRET}
    config = load_config(production=False, environ=environ)
    url = config.database_url or ""
    apply_migrations(config)
    run_sql(url, INSERT_USERS, (TASKS - 1, USERS))  # there is room for one more task
    half = TASKS // 2
    with without_indexes(url), ThreadPoolExecutor() as pool:
        parts = [(1, half), (half + 1, TASKS)]
        list(pool.map(lambda part: run_sql(url, INSERT_TASKS, part), parts))
    run_sql(url, INSERT_KEYS)
    run_sql(url, "ANALYZE")
    app = create_app(config)
    db = ExplainingDatabase(config)
    app.extensions["taskflow"] = replace(app.extensions["taskflow"], database=db)
    with app.app_context():
        yield db


@pytest.fixture
def owner(db: ExplainingDatabase) -> str:
    """Return the id of a user with a thousand tasks."""
    return accounts.find_credentials("700@example.com")[0]


@pytest.fixture
def plans(db: ExplainingDatabase, owner: str) -> list[Plan]:
    """Return the plans of the test's own statements."""
    db.plans.clear()
    return db.plans


def walk(owner: str, sort: str, filters: dict[str, Any], pages: int) -> None:
    """List the tasks of a user, page after page, up to a number of pages."""
    query = {"limit": LIMIT, "sort": sort, **filters}
    cursor = None
    for _ in range(pages):
        cursor = service.list_tasks(owner, query | {"cursor": cursor}, [SECRET]).next_cursor
        if cursor is None:
            break


@pytest.mark.parametrize("sort", SORTS)
def test_a_page_of_a_sort_reads_only_its_own_rows(plans: list[Plan], owner: str, sort: str) -> None:
    walk(owner, sort, {}, pages=TASKS // LIMIT)
    assert len(plans) == TASKS // LIMIT
    assert_bounded(plans, LIMIT + 1)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_a_filtered_page_reads_only_rows_of_its_user(
    plans: list[Plan], owner: str, filters: dict[str, Any], sort: str
) -> None:
    walk(owner, sort, filters, pages=2)
    assert_bounded(plans, TASKS)


def test_every_statement_on_one_task_reads_a_few_rows(plans: list[Plan], owner: str) -> None:
    key = IdempotencyKey("key", "digest")
    body = TaskCreationSchema().load({"title": "Feed the zebra"})
    task = service.create_task(owner, body, TASKS, key)
    assert service.create_task(owner, body, TASKS, key).replayed
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
