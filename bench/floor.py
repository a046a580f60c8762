"""The floor: the least that Flask and psycopg2 can do, served by gunicorn with our settings.

One route answers a constant, one with a row found by its primary key: no token, no validation, no
log line, no error of its own. What the service costs above this is what its features cost.
"""

import os

from flask import Flask
from psycopg2.pool import ThreadedConnectionPool

from taskflow.config import load_config

SELECT = "SELECT title, description FROM tasks WHERE user_id = %s AND id = %s"

_threads = load_config(production=True).web_threads
_pool = ThreadedConnectionPool(_threads, _threads, os.environ["DATABASE_URL"])
app = Flask(__name__)


@app.get("/health/live")
def get_liveness() -> dict[str, str]:
    """Answer with a constant."""
    return {"status": "healthy"}


@app.get("/select/<user_id>/<task_id>")
def get_row(user_id: str, task_id: str) -> dict[str, str]:
    """Answer with a row of the database."""
    conn = _pool.getconn()
    try:
        conn.autocommit = True
        with conn.cursor() as cursor:
            cursor.execute(SELECT, (user_id, task_id))
            [(title, description)] = cursor.fetchall()
    finally:
        _pool.putconn(conn)
    return {"title": title, "description": description}
