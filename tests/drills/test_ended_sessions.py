"""Requests that create tasks race with the end of their session: none succeeds after the end."""

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Any, NamedTuple

from tests.support.credentials import PASSWORD
from tests.support.database import run_sql
from tests.support.drills import SHORT
from tests.support.load import Client
from tests.support.postgres import Postgres
from tests.support.service import Service

ROUNDS = 10 if SHORT else 100
WRITERS = 6
AUTH = "/api/v1/auth"


class Create(NamedTuple):
    """A request that creates a task: when it began, and how it was answered."""

    began: float
    status: int
    code: str


def create_until(stop: Event, port: int, token: str) -> list[Create]:
    """Create tasks on one connection until told to stop, and return the requests."""
    creates = []
    with closing(Client(port, token)) as client:
        while not stop.is_set():
            began = time.monotonic()
            status, answer, _ = client("POST", "/api/v1/tasks", {"title": "x"})
            creates.append(Create(began, status, answer.get("error", {}).get("code", "")))
    return creates


def end_by_logout(client: Client) -> int:
    return client("POST", f"{AUTH}/logout")[0]


def end_by_password_change(client: Client) -> int:
    new = {"currentPassword": PASSWORD, "newPassword": "new horse battery"}
    return client("PUT", f"{AUTH}/password", new)[0]


def race(service: Service, end: Callable[[Client], int], from_elsewhere: bool) -> list[Create]:
    """End a session while it writes, and return the creates that began after the answer."""
    with closing(Client(service.port)) as ender:
        credentials = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
        token = ender("POST", f"{AUTH}/register", credentials)[1]["accessToken"]
        ender.token = token
        if from_elsewhere:
            ender.token = None
            ender.token = ender("POST", f"{AUTH}/login", credentials)[1]["accessToken"]
        stop = Event()
        with ThreadPoolExecutor(WRITERS) as threads:
            writers = [
                threads.submit(create_until, stop, service.port, token) for _ in range(WRITERS)
            ]
            time.sleep(0.05 + random.random() * 0.1)
            assert end(ender) == 204
            ended = time.monotonic()
            time.sleep(0.2)
            stop.set()
            creates = [create for writer in writers for create in writer.result()]
    assert any(create.status == 201 for create in creates)
    return [create for create in creates if create.began > ended]


def test_no_create_that_begins_after_the_end_of_its_session_succeeds(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url(), MAX_TASKS_PER_USER="1000000", WEB_CONCURRENCY="2")
    late: Counter[tuple[int, str]] = Counter()
    for number in range(ROUNDS):
        is_logout = number % 2 == 0
        end = end_by_logout if is_logout else end_by_password_change
        late.update((c.status, c.code) for c in race(service, end, not is_logout))
    [(tasks,)] = run_sql(postgres.url(), "SELECT count(*) FROM tasks")
    figures(rounds=ROUNDS, tasks=tasks, late=dict(late))
    assert set(late) == {(401, "auth_revoked")}
