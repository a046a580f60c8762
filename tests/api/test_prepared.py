"""Each connection prepares a statement once, and again if PostgreSQL has forgotten it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from taskflow.config import Config
from taskflow.database import Database
from taskflow.database import prepared as module
from taskflow.database.prepared import prepared

NAMES = "SELECT name FROM pg_prepared_statements ORDER BY prepare_time"
ADD = "INSERT INTO notes (text) VALUES (%(text)s) RETURNING *"


@pytest.fixture
def database(config: Config, empty_database: Callable[[], str]) -> Database:
    """Return a database with one connection and a table."""
    database = Database(replace(config, database_url=empty_database(), db_pool_max=1))
    database.script("CREATE TABLE notes (text text)")
    return database


def names(database: Database) -> list[str]:
    """Return the names of the connection's prepared statements, the oldest first."""
    return [name for (name,) in database.script(NAMES)]


def test_a_statement_is_prepared_at_its_first_use(database: Database) -> None:
    for text in ("a", "b"):
        assert database.execute(ADD, {"text": text}) == [(text,)]
    assert names(database) == [prepared(ADD).name]


def test_a_parameter_may_be_used_twice_and_a_percent_sign_is_kept(database: Database) -> None:
    sql = "SELECT %(a)s::text || %(b)s || %(a)s LIKE '%%y%%'"
    assert database.query(sql, {"a": "x%", "b": "y"}) == [(True,)]
    assert database.query("SELECT 'a' LIKE '%'", {}) == [(True,)]


def test_the_least_recently_used_statement_is_deallocated(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PREPARED", 2)
    first, second, third = (f"SELECT {number}" for number in (1, 2, 3))
    for sql in (first, second, first, third):
        database.query(sql, {})
    assert names(database) == [prepared(first).name, prepared(third).name]


def test_a_forgotten_statement_is_prepared_again_and_runs_once(database: Database) -> None:
    database.execute(ADD, {"text": "a"})
    database.script("DEALLOCATE ALL")
    assert database.execute(ADD, {"text": "b"}) == [("b",)]
    assert database.query("SELECT count(*)::int FROM notes", {}) == [(2,)]


def test_a_statement_with_another_result_type_is_prepared_again(database: Database) -> None:
    database.execute(ADD, {"text": "a"})
    database.script("ALTER TABLE notes ADD COLUMN number int DEFAULT 1")
    assert database.execute(ADD, {"text": "b"}) == [("b", 1)]
    assert database.query("SELECT count(*)::int FROM notes", {}) == [(2,)]


def test_a_statement_whose_name_is_taken_is_prepared_again(database: Database) -> None:
    sql = "SELECT %(n)s::int + 1"
    database.script(f"PREPARE {prepared(sql).name} AS SELECT 0")
    assert database.query(sql, {"n": 1}) == [(2,)]


def test_an_error_leaves_the_statement_usable(database: Database) -> None:
    sql = "SELECT 1 / %(n)s::int"
    with pytest.raises(Exception, match="22012"):
        database.query(sql, {"n": 0})
    assert database.query(sql, {"n": 1}) == [(1,)]


def test_a_script_is_not_prepared(database: Database) -> None:
    assert database.script("SELECT %(n)s; SELECT %(n)s + 1", {"n": 1}) == [(2,)]
    assert names(database) == []
