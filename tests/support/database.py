"""SQL on a database, without the service."""

from typing import Any

import psycopg2


def run_sql(url: str, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    """Run a statement on a connection of its own, and return its rows."""
    conn = psycopg2.connect(url)
    try:
        conn.autocommit = True
        with conn.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []
    finally:
        conn.close()
