"""The floor: a minimal Flask application over psycopg2, served by gunicorn with our settings.

One route returns a constant. Two routes return a row that they find by its primary key, one with a
plain statement and one with a prepared one. There is no token, no validation, no log line and no
error handling, so the difference from the service is the cost of the service's features.
"""

import os

from flask import Flask
from psycopg2.pool import ThreadedConnectionPool

from taskflow.config import load_config

SELECT = "SELECT title, description FROM tasks WHERE user_id = %s AND id = %s"
PREPARE = "PREPARE find AS SELECT title, description FROM tasks WHERE user_id = $1 AND id = $2"
EXECUTE = "EXECUTE find (%s, %s)"

_threads = load_config(production=True).web_threads
_pool = ThreadedConnectionPool(_threads, _threads, os.environ["DATABASE_URL"])
_prepared: set[int] = set()  # ids of connections, which stay open
app = Flask(__name__)


@app.get("/health/live")
def get_liveness() -> dict[str, str]:
    """Answer with a constant."""
    return {"status": "healthy"}


@app.get("/select/<user_id>/<task_id>")
def get_row(user_id: str, task_id: str) -> dict[str, str]:
    """Answer with a row of the database."""
    return _run(SELECT, user_id, task_id)


@app.get("/prepared/<user_id>/<task_id>")
def get_row_prepared(user_id: str, task_id: str) -> dict[str, str]:
    """Answer with a row of the database, found by a prepared statement."""
    return _run(EXECUTE, user_id, task_id)


def _run(statement: str, *params: str) -> dict[str, str]:
    conn = _pool.getconn()
    try:
        conn.autocommit = True
        with conn.cursor() as cursor:
            if statement is EXECUTE and id(conn) not in _prepared:
                cursor.execute(PREPARE)
                _prepared.add(id(conn))
            cursor.execute(statement, params)
            [(title, description)] = cursor.fetchall()
    finally:
        _pool.putconn(conn)
    return {"title": title, "description": description}
