"""Writers that change one user's tasks, and mirrors that follow the feed at the same time."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg2

from tests.support.database import run_sql
from tests.support.mirrors import Mirror, Send

CLIENTS, OPERATORS, MIRRORS = 5, 3, 4
EXPECTED = {200, 201, 204, 403, 404, 503}
LARGEST_PAGE = 7
KEPT = 60  # tasks; then each new one replaces the oldest
ROUND = 1.0  # seconds
KILL_EVERY = 0.15  # seconds
KILL_ONE = """
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database()
  AND pid <> pg_backend_pid()
ORDER BY random()
LIMIT 1
"""
INSERT_TASK = "INSERT INTO tasks (user_id, title) VALUES (%s, %s) RETURNING id::text"
TASKS = """
SELECT id::text, user_id::text, title, description, status, priority, tags, due_at, due_is_day,
       completed_at, created_at, updated_at, version
FROM tasks
WHERE user_id = %s
"""


def _text(moment: datetime | None) -> str | None:
    return moment and moment.astimezone(UTC).isoformat(timespec="microseconds")


class Feed:
    """Writers and mirrors of a user, which work in rounds.

    Each thread calls `connect`, which returns a function that sends requests as the user.
    """

    def __init__(self, url: str, user_id: str, connect: Callable[[], Send]) -> None:
        self.url, self.user_id = url, user_id
        self.mirrors = [Mirror(connect()) for _ in range(MIRRORS)]
        self.answers: Counter[int] = Counter()
        self.commits = self.kills = 0
        self._clients = [connect() for _ in range(CLIENTS)]
        self._ids: list[str] = []
        self._rng = random.Random(15)
        self._stop = threading.Event()

    def run_round(self, seconds: float = ROUND) -> int:
        """Run writers and mirrors for a while, and return how many mirrors differ at the end."""
        self._stop.clear()
        with ThreadPoolExecutor(CLIENTS + OPERATORS + MIRRORS + 1) as pool:
            running = [pool.submit(self._write, client) for client in self._clients]
            running += [pool.submit(self._operate) for _ in range(OPERATORS)]
            running += [pool.submit(self._follow, mirror) for mirror in self.mirrors]
            running += [pool.submit(self._kill)]
            time.sleep(seconds)
            self._stop.set()
        for thread in running:
            thread.result()
        for mirror in self.mirrors:
            mirror.catch_up(self._rng.randint(1, LARGEST_PAGE))
        truth = self.tasks()
        return sum(mirror.tasks != truth for mirror in self.mirrors)

    def tasks(self) -> dict[str, Any]:
        """Return the tasks of the database, as the contract writes them."""
        found = {}
        for task_id, user_id, title, *rest in run_sql(self.url, TASKS, (self.user_id,)):
            description, status, priority, tags, due, is_day, *moments, version = rest
            completed, created, updated = map(_text, moments)
            found[task_id] = {
                "id": task_id, "userId": user_id, "title": title, "description": description,
                "status": status, "priority": priority, "tags": tags,
                "dueDate": due.astimezone(UTC).date().isoformat() if is_day else _text(due),
                "completedAt": completed, "createdAt": created, "updatedAt": updated,
                "version": version,
            }  # fmt: skip
        return found

    def _draw(self) -> str:
        return self._rng.choice(self._ids or [self.user_id])

    def _write(self, send: Send) -> None:
        while not self._stop.is_set():
            status, body = send(*self._request())
            self.answers[status] += 1
            assert status in EXPECTED, body
            made = [body] if status == 201 else (body or {}).get("created", [])
            self._ids += [task["id"] for task in made]

    def _request(self) -> tuple[str, str, Any]:
        rng, path = self._rng, f"/tasks/{self._draw()}"
        if len(self._ids) > KEPT:
            return "DELETE", f"/tasks/{self._ids.pop(0)}", None
        fields = {
            "title": f"Title {rng.random()}",
            "status": rng.choice(["pending", "completed"]),
            "dueDate": rng.choice([None, "2026-12-01", "2026-12-01T10:20:30.123+02:00"]),
            "tags": rng.sample(["a", "b", "c"], 2),
        }
        batch = {
            "create": [fields] * rng.randint(0, 2),
            "update": [{"id": self._draw(), **fields}],
            "delete": [{"id": task_id} for task_id in {self._draw()}],
        }
        if batch["update"][0]["id"] == batch["delete"][0]["id"]:
            batch["delete"] = []
        requests = [
            ("POST", "/tasks", fields),
            ("PATCH", path, fields),
            ("DELETE", path, None),
            ("POST", f"{path}/restore", None),
            ("POST", "/tasks/batch", batch),
        ]
        [request] = rng.choices(requests, weights=[3, 5, 2, 1, 3])
        return request

    def _operate(self) -> None:
        """Write by SQL, in transactions that commit in another order than they began."""
        while not self._stop.is_set():
            try:
                with closing(psycopg2.connect(self.url)) as conn, conn.cursor() as cursor:
                    while not self._stop.is_set():
                        self._run_transaction(conn, cursor)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                continue  # killed, or chosen to end a deadlock

    def _run_transaction(
        self, conn: psycopg2.extensions.connection, cursor: psycopg2.extensions.cursor
    ) -> None:
        rng, text = self._rng, f"SQL {self._rng.random()}"
        statement, *params = rng.choice(
            [
                ("UPDATE tasks SET title = %s WHERE id = %s", text, self._draw()),
                ("UPDATE tasks SET description = %s WHERE id = %s", text, self._draw()),
                ("DELETE FROM tasks WHERE id = %s", self._draw()),
                (INSERT_TASK, self.user_id, text),
            ]
        )
        cursor.execute("SELECT now()")  # the transaction begins
        time.sleep(rng.uniform(0, 0.03))
        cursor.execute(statement, params)
        if statement == INSERT_TASK:
            self._ids += [task_id for (task_id,) in cursor.fetchall()]
        time.sleep(rng.uniform(0, 0.01))
        if rng.random() < 0.2:
            conn.rollback()
        else:
            conn.commit()
            self.commits += 1

    def _follow(self, mirror: Mirror) -> None:
        while not self._stop.is_set():
            mirror.apply_page(self._rng.randint(1, LARGEST_PAGE))
            time.sleep(self._rng.uniform(0, 0.02))

    def _kill(self) -> None:
        while not self._stop.wait(KILL_EVERY):
            self.kills += len(run_sql(self.url, KILL_ONE))
