"""The cost of statements in a table of a million tasks, for users of 10 and of 1,000."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient

from taskflow import create_app
from taskflow.auth.tokens import issue_tokens
from taskflow.config import load_config
from taskflow.database.migrations import apply_migrations
from taskflow.http.context import Caller
from taskflow.tasks import queries, service
from taskflow.tasks.schemas import SORTS
from tests.support.credentials import PASSWORD, SECRET
from tests.support.database import run_sql
from tests.support.query_plans import (
    FILTERS,
    INSERT_TASKS,
    INSERT_USERS,
    ExplainingDatabase,
    Plan,
    without_indexes,
)
from tests.support.service import ROOT

USERS, TASKS = 1000, 1000  # tasks of each user, except one
LIMIT = 20
FEW = 10
# A page that follows its index reads a block for each task, and some levels of indexes.
PAGE_BLOCKS = LIMIT + 20
# The other orders and filters read a block for each of the user's tasks.
USER_BLOCKS = TASKS + 40
BUDGETS = ROOT / "docs/budgets.md"


@pytest.fixture(scope="module")
def app(empty_database: Callable[[], str]) -> Iterator[Flask]:
    """Return an application on a full database that explains every statement."""
    environ = {"DATABASE_URL": empty_database(), "JWT_SECRET": SECRET, "MAX_TASKS_PER_USER": "2000"}
    environ |= {"RATE_LIMIT": "1000000/second", "AUTH_RATE_LIMIT": "1000000/second"}
    config = load_config(production=False, environ=environ)
    url = config.database_url or ""
    apply_migrations(config)
    run_sql(url, INSERT_USERS, {"users": USERS, "tasks": TASKS})
    half = TASKS // 2
    with without_indexes(url), ThreadPoolExecutor() as pool:
        parts = [{"first": 1, "last": half}, {"first": half + 1, "last": TASKS}]
        list(pool.map(lambda part: run_sql(url, INSERT_TASKS, part), parts))
    few = "SELECT id FROM users WHERE email = '10@example.com'"
    run_sql(url, f"DELETE FROM tasks WHERE user_id = ({few}) AND version > {FEW}")
    run_sql(url, "VACUUM ANALYZE")
    app = create_app(config)
    database = ExplainingDatabase(config)
    app.extensions["taskflow"] = replace(app.extensions["taskflow"], database=database)
    with app.app_context():
        yield app


@pytest.fixture
def database(app: Flask) -> ExplainingDatabase:
    """Return the application's database, without plans yet."""
    found: ExplainingDatabase = app.extensions["taskflow"].database
    found.plans.clear()
    found.plan_cache_mode = "force_generic_plan"
    return found


def caller(app: Flask, email: str) -> Caller:
    """Return a user and its newest session."""
    [row] = run_sql(
        app.extensions["taskflow"].config.database_url,
        "SELECT users.id::text, sessions.id::text FROM users JOIN sessions ON user_id = users.id"
        " WHERE email = %s ORDER BY expires_at DESC LIMIT 1",
        (email,),
    )
    return Caller(*row)


@pytest.fixture
def many(app: Flask) -> Caller:
    """Return a user with a thousand tasks."""
    return caller(app, "700@example.com")


@pytest.fixture
def few(app: Flask) -> Caller:
    """Return a user with ten tasks."""
    return caller(app, "10@example.com")


def walk(user: Caller, sort: str, filters: dict[str, Any], pages: int) -> None:
    """List the tasks of a user, page after page, up to a number of pages."""
    query = {"limit": LIMIT, "sort": sort, **filters}
    cursor = None
    for _ in range(pages):
        cursor = service.list_tasks(user, query | {"cursor": cursor}, [SECRET]).next_cursor
        if cursor is None:
            break


def blocks_of(database: ExplainingDatabase) -> list[int]:
    """Return the blocks that each statement has read since the last call."""
    found = [plan.blocks for plan in database.plans]
    database.plans.clear()
    return found


@pytest.mark.parametrize("sort", SORTS)
def test_a_page_reads_its_own_rows_by_the_index_or_the_rows_of_its_user(
    database: ExplainingDatabase, many: Caller, sort: str
) -> None:
    walk(many, sort, {}, pages=3)
    bound = PAGE_BLOCKS if "createdAt" in sort else USER_BLOCKS
    assert max(blocks_of(database)) <= bound


@pytest.mark.parametrize("user", ["few", "many"])
@pytest.mark.parametrize("sort", ["-createdAt", "dueDate", "title"])
@pytest.mark.parametrize("filters", [{}, *FILTERS.values()], ids=["no filter", *FILTERS])
def test_a_generic_plan_reads_no_more_than_a_plan_for_its_values(
    database: ExplainingDatabase,
    request: pytest.FixtureRequest,
    user: str,
    filters: dict[str, Any],
    sort: str,
) -> None:
    user_ = request.getfixturevalue(user)
    walk(user_, sort, filters, pages=2)
    generic = blocks_of(database)
    database.plan_cache_mode = "force_custom_plan"
    walk(user_, sort, filters, pages=2)
    custom = blocks_of(database)
    assert len(generic) == len(custom)
    for ours, theirs in zip(generic, custom, strict=True):
        assert ours <= theirs * 1.1 + FEW
        assert ours <= (USER_BLOCKS if user == "many" else PAGE_BLOCKS)


class Budget(NamedTuple):
    """The cost of a route: statements, blocks, bytes of WAL, rows, and bytes of the answer."""

    statements: int
    blocks: int
    wal: int
    rows: int
    answer: int


def budgets() -> dict[str, Budget]:
    """Return the table of docs/budgets.md."""
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", BUDGETS.read_text(), re.MULTILINE)
    return {
        route: Budget(*(int(cell.replace(",", "")) for cell in cells.split(" | ")))
        for route, cells in rows
    }


def cost(plans: list[Plan], answer: int) -> Budget:
    """Return what a request cost."""
    return Budget(
        statements=len(plans),
        blocks=sum(plan.blocks for plan in plans),
        wal=sum(plan.wal for plan in plans),
        rows=int(plans[-1].root["Actual Rows"]),
        answer=answer,
    )


def requests(
    app: Flask, client: FlaskClient, user: Caller
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each route that asks the database, and a request to it."""
    database_url = app.extensions["taskflow"].config.database_url
    [(task_id,)] = run_sql(
        database_url,
        "SELECT id::text FROM tasks WHERE user_id = %s ORDER BY version LIMIT 1 OFFSET 500",
        (user.user_id,),
    )
    access = issue_tokens(*user, refresh_id=task_id, csrf="x").access
    headers = {"Authorization": f"Bearer {access}"}
    new = {
        "title": "Buy milk",
        "description": "Two litres",
        "tags": ["shop"],
        "dueDate": "2027-01-01",
    }
    replayed = {"Idempotency-Key": "1"}
    client.post("/api/v1/tasks", json=new, headers=headers | replayed)
    tag = {"If-None-Match": client.get("/api/v1/tasks", headers=headers).headers["ETag"]}
    credentials = {"email": "budget@example.com", "password": PASSWORD}

    def send(method: str, path: str, body: Any = None, **more: str) -> Callable[[], Any]:
        return lambda: client.open(
            f"/api/v1{path}", method=method, json=body, headers=headers | more
        )

    task = f"/tasks/{task_id}"
    yield "GET /tasks", send("GET", "/tasks")
    yield "GET /tasks, 304", send("GET", "/tasks", **tag)
    yield "GET /tasks?sort=title", send("GET", "/tasks?sort=title")
    yield "GET /tasks?q=", send("GET", "/tasks?q=zebra")
    yield "GET /tasks/{id}", send("GET", task)
    yield "GET /tasks/{id}, 404", send("GET", f"/tasks/{user.user_id}")
    yield "POST /tasks", send("POST", "/tasks", new)
    yield "POST /tasks, with a key", send("POST", "/tasks", new, **{"Idempotency-Key": "2"})
    yield "POST /tasks, a repeat", send("POST", "/tasks", new, **replayed)
    yield "PUT /tasks/{id}", send("PUT", task, new)
    yield "PATCH /tasks/{id}, status", send("PATCH", task, {"status": "completed"})
    yield "GET /tasks/changes", send("GET", "/tasks/changes")
    yield "GET /tasks/summary", send("GET", "/tasks/summary")
    yield "POST /tasks/batch, 100", send("POST", "/tasks/batch", {"create": [new] * 100})
    yield "DELETE /tasks/{id}", send("DELETE", task)
    yield "POST /tasks/{id}/restore", send("POST", f"{task}/restore")
    yield "POST /auth/register", send("POST", "/auth/register", credentials)
    yield "POST /auth/login", send("POST", "/auth/login", credentials)
    yield "GET /auth/me", send("GET", "/auth/me")
    yield "GET /auth/sessions", send("GET", "/auth/sessions")


def spent(app: Flask, user: Caller, *routes: str) -> dict[str, Budget]:
    """Send the requests and return what each of them cost; all routes by default."""
    client, database = app.test_client(use_cookies=False), app.extensions["taskflow"].database
    found = {}
    for route, send in requests(app, client, user):
        if routes and route not in routes:
            continue
        database.plans.clear()
        response = send()
        assert response.status_code in (200, 201, 204, 304, 404), (route, response.text)
        found[route] = cost(database.plans, len(response.data))
    return found


def over_budget(found: dict[str, Budget]) -> dict[str, Budget]:
    """Return the routes that cost more than they may."""
    allowed = budgets()
    return {
        route: budget
        for route, budget in found.items()
        if any(have > most for have, most in zip(budget, allowed[route], strict=True))
    }


def test_no_route_exceeds_its_budget(
    app: Flask, database: ExplainingDatabase, many: Caller
) -> None:
    found = spent(app, many)
    assert list(found) == list(budgets())
    table = "\n".join(
        f"| `{route}` | {' | '.join(f'{cell:,}' for cell in budget)} |"
        for route, budget in found.items()
    )
    # If a change is meant to cost more, copy its row from here to the table, with some room.
    assert not over_budget(found), f"{over_budget(found)}\n{table}"


@pytest.fixture
def sql(app: Flask) -> Callable[[str], Any]:
    """Return a function that runs SQL in the full database."""
    return lambda statement: run_sql(app.extensions["taskflow"].config.database_url, statement)


def test_the_budget_notices_another_index(
    app: Flask, database: ExplainingDatabase, many: Caller, sql: Callable[[str], Any]
) -> None:
    sql("CREATE INDEX another ON tasks (user_id, updated_at, id)")
    try:
        assert over_budget(spent(app, many, "POST /tasks"))
    finally:
        sql("DROP INDEX another")


def test_the_budget_notices_a_dropped_index(
    app: Flask, database: ExplainingDatabase, many: Caller, sql: Callable[[str], Any]
) -> None:
    [(definition,)] = sql("SELECT pg_get_indexdef('tasks_created_at'::regclass)")
    sql("DROP INDEX tasks_created_at")
    try:
        assert over_budget(spent(app, many, "GET /tasks"))
    finally:
        sql(definition)


def test_the_budget_notices_a_second_statement(
    app: Flask,
    database: ExplainingDatabase,
    many: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_task = queries.find_task
    monkeypatch.setattr(queries, "find_task", lambda *args: find_task(*args) and find_task(*args))
    assert over_budget(spent(app, many, "GET /tasks/{id}"))


def test_the_budget_notices_a_statement_for_each_row(
    app: Flask,
    database: ExplainingDatabase,
    many: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    list_tasks = queries.list_tasks

    def list_and_find_each(user: Caller, *args: Any) -> Any:
        rows = list_tasks(user, *args)
        for *_, task_id in rows:
            queries.find_task(user, task_id)
        return rows

    monkeypatch.setattr(queries, "list_tasks", list_and_find_each)
    assert over_budget(spent(app, many, "GET /tasks"))
