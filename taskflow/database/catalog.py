"""The comparison of a database's catalog with `schema.sql`."""

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psycopg2

from taskflow.config import Config
from taskflow.database.connection import Connector

SCHEMA = Path(__file__).parent.parent.parent / "schema.sql"
_SCRATCH = "taskflow_expected"  # a PostgreSQL schema that is never committed

# Every object of our tables, with a definition that leaves out the schema's name.
_DESCRIBE = """
WITH ours AS (
  SELECT oid, relname
  FROM pg_class
  WHERE relnamespace = current_schema()::regnamespace
    AND relkind = 'r'
    AND relname = ANY(%(tables)s)
)
SELECT 'column', format('%%s.%%s', relname, attname),
       concat_ws(' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END,
                 CASE WHEN attgenerated = 's' THEN 'GENERATED' END, pg_get_expr(adbin, adrelid))
FROM ours
JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT 'constraint', conname, pg_get_constraintdef(pg_constraint.oid)
FROM ours
JOIN pg_constraint ON conrelid = ours.oid AND contype <> 'n'
UNION ALL
SELECT 'index', indexrelid::regclass::text,
       replace(pg_get_indexdef(indexrelid), quote_ident(current_schema()) || '.', '')
       || CASE WHEN NOT indisvalid THEN ' INVALID' ELSE '' END
FROM ours
JOIN pg_index ON indrelid = ours.oid
UNION ALL
SELECT 'trigger', tgname,
       replace(pg_get_triggerdef(pg_trigger.oid), quote_ident(current_schema()) || '.', '')
FROM ours
JOIN pg_trigger ON tgrelid = ours.oid AND NOT tgisinternal
UNION ALL
SELECT 'settings of', relname, array_to_string(reloptions, ' ')
FROM ours
JOIN pg_class USING (oid, relname)
WHERE reloptions IS NOT NULL
UNION ALL
SELECT 'function', proname,
       replace(pg_get_functiondef(oid), quote_ident(current_schema()) || '.', '')
FROM pg_proc
WHERE pronamespace = current_schema()::regnamespace
  AND proname LIKE 'taskflow\\_%%'
"""
_TABLES = """
SELECT array_agg(relname::text)
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace
  AND relkind = 'r'
"""


class Difference(NamedTuple):
    """An object of the catalog that differs; the definition is None where the object is missing."""

    kind: str
    name: str
    expected: str | None
    found: str | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.kind} {self.name} is missing"
        if self.expected is None:
            return f"{self.kind} {self.name} is not in schema.sql"
        return f"{self.kind} {self.name} is {self.found!r} instead of {self.expected!r}"


def find_differences(config: Config) -> list[Difference]:
    """Return how the database differs from `schema.sql`.

    Creates the expected schema in a transaction on the same server, so that both are described by
    the same version of PostgreSQL, and rolls it back. Raises `psycopg2.Error`; its subclass
    `InsufficientPrivilege` means that the role may not create a schema.
    """
    with closing(Connector(config).open()) as conn:
        conn.autocommit = False
        conn.preamble = ""
        with conn.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA {_SCRATCH}")
            cursor.execute("SELECT current_schema()")
            [(ours,)] = cursor.fetchall()
            cursor.execute(f"SET LOCAL search_path = {_SCRATCH}")
            cursor.execute(SCHEMA.read_text())
            cursor.execute(_TABLES)
            [(tables,)] = cursor.fetchall()
            expected = _describe(cursor, tables)
            cursor.execute("SELECT set_config('search_path', quote_ident(%s), true)", [ours])
            found = _describe(cursor, tables)
        conn.rollback()
    return [
        Difference(*key, expected.get(key), found.get(key))
        for key in sorted(expected | found)
        if expected.get(key) != found.get(key)
    ]


def _describe(
    cursor: psycopg2.extensions.cursor, tables: list[str]
) -> dict[tuple[str, str], str | None]:
    cursor.execute(_DESCRIBE, {"tables": tables})
    return {(kind, name): definition for kind, name, definition in cursor.fetchall()}
