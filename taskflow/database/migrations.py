"""Migrations: the files of `migrations/`, each applied once, in order, and recorded.

A file is one transaction, unless its first line is `-- no transaction`: then it is one statement
that PostgreSQL refuses in a transaction, such as CREATE INDEX CONCURRENTLY.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from taskflow.config import Config
from taskflow.database.connection import Connection, Connector
from taskflow.database.statements import Database
from taskflow.errors import ServiceError

FOLDER = Path(__file__).parent.parent.parent / "migrations"
TIMEOUT = 300  # seconds for a statement, such as an index over millions of rows
ATTEMPTS, PAUSE = 20, 2  # tries, and seconds between them, while others hold a table
_NO_TRANSACTION = "-- no transaction\n"
_LOCKED = ("55P03", "40P01")  # lock_not_available, deadlock_detected

# While a migration waits for a table, other statements queue behind it, so it must not wait long.
_BEGIN = "BEGIN; SET LOCAL lock_timeout = '3s';\n"
# A role may have a default that would end the transaction, and its lock, while migrations run.
_LOCK = """
BEGIN;
SET LOCAL idle_in_transaction_session_timeout = 0;
SELECT pg_advisory_xact_lock(hashtext('taskflow.schema'))
"""
_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  name       text        NOT NULL,
  digest     text        NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT schema_migrations_pkey PRIMARY KEY (name)
)
"""
_RECORD = "INSERT INTO schema_migrations (name, digest) VALUES ('{name}', '{digest}');\n"


class MigrationError(Exception):
    """A migration can't be applied; its text is one line that says why."""


class Migration(NamedTuple):
    """A file of `migrations/`."""

    name: str
    sql: str

    @property
    def digest(self) -> str:
        """The SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def load_migrations() -> tuple[Migration, ...]:
    """Return all migrations in the order in which they apply."""
    return tuple(Migration(path.stem, path.read_text()) for path in sorted(FOLDER.glob("*.sql")))


def find_missing_migrations(database: Database, within: float | None = None) -> list[str]:
    """Return the names of migrations that the database lacks; raises as `Database.query` does."""
    rows = database.query(
        "/* find_missing_migrations */ SELECT name FROM schema_migrations", {}, within
    )
    applied = {name for (name,) in rows}
    return [migration.name for migration in load_migrations() if migration.name not in applied]


def apply_migrations(config: Config) -> list[str]:
    """Apply the migrations that the database lacks and return their names.

    Releases that run at the same time take turns. A migration that fails changes nothing. Raises
    `MigrationError` if an applied file has changed, and otherwise as `Database` does.
    """
    config = replace(config, db_statement_timeout=TIMEOUT)
    with _hold_lock(config):
        database = Database(config)
        database.script(_CREATE_TABLE)
        rows = database.query("SELECT name, digest FROM schema_migrations", {})
        recorded: dict[str, str] = dict(rows)
        missing = []
        for migration in load_migrations():
            if migration.name not in recorded:
                missing.append(migration)
            elif recorded[migration.name] != migration.digest:
                raise MigrationError(f"migration {migration.name} changed after it was applied")
        for migration in missing:
            _apply_patiently(migration, database, config)
    return [migration.name for migration in missing]


@contextmanager
def _hold_lock(config: Config) -> Iterator[None]:
    """Hold a lock in a transaction, which PgBouncer keeps on one connection."""
    conn = Connector(config).open()
    try:
        _run(conn, _LOCK)
        yield
    finally:
        conn.close()


def _apply_patiently(migration: Migration, database: Database, config: Config) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _apply(migration, database, config)
            return
        except ServiceError as error:
            is_locked = getattr(error.__cause__, "pgcode", None) in _LOCKED
            if not is_locked or attempt == ATTEMPTS:
                raise
            time.sleep(PAUSE)


def _apply(migration: Migration, database: Database, config: Config) -> None:
    record = _RECORD.format(name=migration.name, digest=migration.digest)
    if not migration.sql.startswith(_NO_TRANSACTION):
        database.script(f"{_BEGIN}{migration.sql}\n{record}COMMIT")
        return
    conn = Connector(config).open()
    try:
        conn.preamble = ""  # a preamble would make the string a transaction
        _run(conn, migration.sql)
        _run(conn, record)
    finally:
        conn.close()


def _run(conn: Connection, sql: str) -> None:
    conn.run(sql, {}, TIMEOUT)
