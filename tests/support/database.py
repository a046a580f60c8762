"""SQL on a database, without the service."""

from typing import Any

import psycopg2

# Ends the service's sessions in one database: the processes of a test run share a server. It waits
# for the backends, since one that is about to end accepts a statement and never answers.
KILL = """
SELECT pg_terminate_backend(pid, 5000)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'taskflow'
"""


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
