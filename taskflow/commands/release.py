"""The command `release`, which brings the database up to date."""

import psycopg2

from taskflow.commands.errors import CommandError
from taskflow.commands.upkeep import bring_up_to_date
from taskflow.config import Config
from taskflow.database.catalog import find_differences
from taskflow.database.migrations import apply_migrations


def release(config: Config) -> str:
    """Apply the migrations that are missing, compare the schema, and update stored values.

    Returns the line to print. Raises `CommandError` if the database differs from schema.sql, and
    passes on the errors of PostgreSQL and of the connection.
    """
    applied = apply_migrations(config)
    answer = f"applied {', '.join(applied)}" if applied else "no migration is missing"
    comparison = ""
    try:
        differences = find_differences(config)
    except psycopg2.errors.InsufficientPrivilege:
        differences = []
        comparison = "; not compared with schema.sql: that needs CREATE on the database"
    if differences:
        raise CommandError(
            f"{answer}, but the database differs from schema.sql: "
            + "; ".join(map(str, differences))
        )
    changes = "".join(f"; {change}" for change in bring_up_to_date(config))
    return f"taskflow: {answer}{comparison}{changes}"
