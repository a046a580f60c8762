"""Each migration is applied once, in order, and all of them create the catalog of schema.sql."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from taskflow.commands.errors import CommandError
from taskflow.commands.release import release
from taskflow.config import Config
from taskflow.database import Database, migrations
from taskflow.database.catalog import SCHEMA, find_differences
from taskflow.database.migrations import (
    MigrationError,
    apply_migrations,
    find_missing_migrations,
    load_migrations,
)
from taskflow.errors import ServiceError
from tests.support.database import run_sql

FIRST_SCHEMA = Path(__file__).parent.parent / "support/first_schema.sql"
ALL = [migration.name for migration in load_migrations()]
DATA = """
INSERT INTO users (email, email_key, password_hash, task_count)
VALUES ('Ann@example.com', 'ann@example.com', 'hash', 2);
INSERT INTO sessions (user_id, expires_at) SELECT id, now() + interval '7 days' FROM users;
INSERT INTO refresh_tokens (session_id) SELECT id FROM sessions;
INSERT INTO tasks (user_id, title, tags) SELECT id, 'Buy milk', '{shop}' FROM users;
INSERT INTO tasks (user_id, title, due_at) SELECT id, 'Call Bob', '2026-12-01Z' FROM users;
INSERT INTO idempotency_keys (user_id, key, body_digest, task_id)
SELECT user_id, title, 'digest', id FROM tasks;
"""


@pytest.fixture
def empty(config: Config, empty_database: Callable[[], str]) -> Config:
    """Return the configuration with an empty database."""
    return replace(config, database_url=empty_database())


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder of migrations that begins with the real ones."""
    for path in migrations.FOLDER.glob("*.sql"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(migrations, "FOLDER", tmp_path)
    monkeypatch.setattr(migrations, "load_migrations", load_migrations.__wrapped__)
    return tmp_path


def test_all_migrations_make_the_catalog_of_the_schema_file(empty: Config) -> None:
    assert apply_migrations(empty) == ALL
    assert find_differences(empty) == []
    assert apply_migrations(empty) == []


def test_the_schema_file_records_every_migration(empty: Config) -> None:
    run_sql(empty.database_url or "", SCHEMA.read_text())
    assert find_missing_migrations(Database(empty)) == []
    assert apply_migrations(empty) == []
    assert find_differences(empty) == []


def test_the_first_schema_with_data_is_migrated_to_the_same_catalog(empty: Config) -> None:
    url = empty.database_url or ""
    run_sql(url, FIRST_SCHEMA.read_text())
    run_sql(url, DATA)
    assert apply_migrations(empty) == ALL
    assert find_differences(empty) == []
    assert run_sql(url, "SELECT title, tags, version FROM tasks ORDER BY title") == [
        ("Buy milk", ["shop"], 1),
        ("Call Bob", [], 1),
    ]
    assert run_sql(url, "SELECT email, task_count FROM users") == [("Ann@example.com", 2)]
    assert run_sql(url, "SELECT count(*)::int FROM idempotency_keys JOIN tasks ON key = title") == [
        (2,)
    ]


def test_concurrent_releases_apply_each_migration_once(empty: Config) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: apply_migrations(empty), range(4)))
    assert sorted(applied) == [[], [], [], ALL]


def test_a_migration_outside_of_a_transaction_builds_an_index_concurrently(
    empty: Config, folder: Path
) -> None:
    (folder / "9000_index.sql").write_text(
        "-- no transaction\nCREATE INDEX CONCURRENTLY users_created_at ON users (created_at)\n"
    )
    assert apply_migrations(empty) == [*ALL, "9000_index"]
    assert [str(difference) for difference in find_differences(empty)] == [
        "index users_created_at is not in schema.sql"
    ]


def test_a_migration_that_fails_changes_nothing(empty: Config, folder: Path) -> None:
    (folder / "9000_broken.sql").write_text("CREATE TABLE extra (id int); SELECT 1 / 0;")
    with pytest.raises(Exception, match="22012"):
        apply_migrations(empty)
    assert run_sql(empty.database_url or "", "SELECT to_regclass('extra')") == [(None,)]
    assert find_missing_migrations(Database(empty)) == ["9000_broken"]
    (folder / "9000_broken.sql").unlink()
    assert apply_migrations(empty) == []


def test_an_applied_migration_must_not_change(empty: Config, folder: Path) -> None:
    apply_migrations(empty)
    path = folder / f"{ALL[0]}.sql"
    path.write_text(path.read_text() + "\n-- an afterthought\n")
    with pytest.raises(MigrationError, match=f"^migration {ALL[0]} changed after"):
        apply_migrations(empty)


def test_a_migration_waits_its_turn_for_a_locked_table(
    empty: Config, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_migrations(empty)
    (folder / "9000_column.sql").write_text("ALTER TABLE users ADD COLUMN name text;")
    monkeypatch.setattr(migrations, "_BEGIN", "BEGIN; SET LOCAL lock_timeout = '100ms';")
    monkeypatch.setattr(migrations, "PAUSE", 0.1)
    monkeypatch.setattr(migrations, "ATTEMPTS", 2)
    with closing(psycopg2.connect(empty.database_url)) as reader:
        reader.cursor().execute("TABLE users")  # its transaction holds a lock
        with pytest.raises(ServiceError, match="query_timeout"):
            apply_migrations(empty)
    assert apply_migrations(empty) == ["9000_column"]


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("DROP INDEX sessions_expiry", "index sessions_expiry is missing"),
        ("CREATE INDEX mine ON tasks (title)", "index mine is not in schema.sql"),
        (
            "ALTER TABLE users ALTER COLUMN email DROP NOT NULL",
            "column users.email is 'text' instead of 'text NOT NULL'",
        ),
        ("ALTER TABLE users ADD COLUMN name text", "column users.name is not in schema.sql"),
        (
            "ALTER TABLE tasks DROP CONSTRAINT tasks_title_check",
            "constraint tasks_title_check is missing",
        ),
    ],
    ids=["dropped index", "new index", "nullable column", "new column", "dropped constraint"],
)
def test_a_release_names_every_object_that_was_altered_by_hand(
    empty: Config, statement: str, difference: str
) -> None:
    apply_migrations(empty)
    run_sql(empty.database_url or "", statement)
    with pytest.raises(CommandError) as caught:
        release(empty)
    assert str(caught.value) == (
        f"no migration is missing, but the database differs from schema.sql: {difference}"
    )


def test_a_role_that_may_not_create_a_schema_is_told_that_nothing_was_compared(
    empty: Config,
) -> None:
    apply_migrations(empty)
    url = empty.database_url or ""
    run_sql(url, "CREATE ROLE clerk; GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO clerk")
    run_sql(url, "GRANT CREATE, USAGE ON SCHEMA public TO clerk")
    try:
        restricted = f"{url}{'&' if '?' in url else '?'}options=-c%20role%3Dclerk"
        answer = release(replace(empty, database_url=restricted))
    finally:
        run_sql(url, "DROP OWNED BY clerk; DROP ROLE clerk")
    assert answer.startswith("taskflow: no migration is missing; not compared with schema.sql")
