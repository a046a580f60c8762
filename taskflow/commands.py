"""What an operator runs: `python -m taskflow COMMAND`.

Every command is production, prints one line, and ends with code 1 and one line on stderr if it
fails.
"""

import argparse
import logging
import sys
from collections.abc import Callable

import psycopg2

from taskflow.config import Config, load_config_or_exit
from taskflow.database import Database
from taskflow.database.catalog import find_differences
from taskflow.database.migrations import apply_migrations

BATCH = 5000  # rows a statement deletes, so that none holds locks for long

DELETE_EXPIRED_SESSIONS = """
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


class CommandError(Exception):
    """A command can't do its work; its text says why."""


def release(config: Config) -> str:
    """Apply the migrations that are missing, and compare the database with schema.sql.

    Returns the line to print. Raises `CommandError` if the database differs, and what PostgreSQL
    or the connection raises.
    """
    applied = apply_migrations(config)
    answer = f"applied {', '.join(applied)}" if applied else "no migration is missing"
    try:
        differences = find_differences(config)
    except psycopg2.errors.InsufficientPrivilege:
        return f"{answer}; not compared with schema.sql: that needs CREATE on the database"
    if differences:
        raise CommandError(
            f"{answer}, but the database differs from schema.sql: "
            + "; ".join(map(str, differences))
        )
    return answer


def purge(config: Config) -> str:
    """Delete expired sessions and Idempotency-Keys that are more than a day old.

    Only the size of the tables depends on it. Returns the line to print; raises what the
    connection raises.
    """
    database = Database(config)
    sessions = _delete_in_batches(database, DELETE_EXPIRED_SESSIONS)
    keys = _delete_in_batches(database, DELETE_OLD_KEYS)
    return f"deleted {sessions} sessions and {keys} idempotency keys"


def _delete_in_batches(database: Database, statement: str) -> int:
    total = 0
    while deleted := len(database.execute(statement, {"batch": BATCH})):
        total += deleted
    return total


COMMANDS: dict[str, Callable[..., str]] = {"release": release, "purge": purge}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m taskflow",
        description="Commands for operators. They read the same variables as the service.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").partition("\n")[0]
        commands.add_parser(name, help=summary, description=summary)
    return parser


def main() -> None:
    """Run the command that the arguments name, or list the commands."""
    parser = _parser()
    options = vars(parser.parse_args())
    name = options.pop("command")
    if name is None:
        parser.print_help()
        return
    config = load_config_or_exit(production=True)
    logging.disable()  # one line is enough
    try:
        print(f"taskflow: {COMMANDS[name](config, **options)}")
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())
        sys.exit(f"taskflow: {name} failed: {reason}")
