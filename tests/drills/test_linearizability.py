"""Some order of their operations explains everything that clients see under faults."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.database import run_sql
from tests.support.drills import SHORT
from tests.support.faults import KILL_SESSIONS
from tests.support.histories import Recorder
from tests.support.linearizability import UNKNOWN, Operation, find_violation
from tests.support.postgres import Postgres
from tests.support.service import Service, serving
from tests.support.standby import follow

LIMIT = 5
USERS = 4  # whose histories are recorded side by side
SETTINGS = {"MAX_TASKS_PER_USER": str(LIMIT), "DB_STATEMENT_TIMEOUT": "2"}


def new_recorders(port: int, seed: int) -> list[Recorder]:
    """Register some users."""
    return [Recorder(port, seed * USERS + number) for number in range(USERS)]


def record(recorders: list[Recorder]) -> list[list[Operation]]:
    """Record the histories of some users."""
    with ThreadPoolExecutor(USERS) as threads:
        return list(threads.map(Recorder.record, recorders))


def describe(histories: list[list[Operation]]) -> dict[str, Any]:
    """Return figures of histories."""
    operations = [operation for history in histories for operation in history]
    kinds = Counter(f"{o.kind} {o.status or 'unknown'}" for o in operations)
    return {
        "histories": len(histories),
        "operations": len(operations),
        **dict(sorted(kinds.items())),
    }


def assert_explained(histories: list[list[Operation]], figures: Any) -> None:
    """Assert that every history is linearizable, and was disturbed."""
    started = time.monotonic()
    violations = [find_violation(history, LIMIT) for history in histories]
    figures(**describe(histories), checked_in=time.monotonic() - started)
    assert [violation for violation in violations if violation] == []


class Faults:
    """Kills sessions of the service until it is told to stop, and may restart the server."""

    def __init__(self, postgres: Postgres, restart: bool) -> None:
        self._postgres, self._restart = postgres, restart
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(random.uniform(0.02, 0.15)):
            run_sql(self._postgres.url(), KILL_SESSIONS)
            if self._restart:
                self._restart = False
                self._postgres.stop(random.choice(["fast", "immediate"]))
                self._postgres.start()


def test_histories_are_linearizable_while_sessions_and_the_server_are_killed(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url(), WEB_CONCURRENCY="2", **SETTINGS)
    histories = []
    for number in range(8 if SHORT else 75):
        with Faults(postgres, restart=number % 4 == 3):
            histories += record(new_recorders(service.port, number))
    assert_explained(histories, figures)
    unknown = sum(o.status == UNKNOWN for history in histories for o in history)
    assert unknown > len(histories) / 4


@pytest.mark.skipif(SHORT, reason="takes long")
def test_histories_are_linearizable_across_failovers(
    postgres: Postgres, standby: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    hosts = f"127.0.0.1:{postgres.port},127.0.0.1:{standby.port}"
    service = serve(f"postgresql://postgres@{hosts}/taskflow", **SETTINGS)
    primary, other = postgres, standby
    histories = []
    for number in range(10):
        recorders = new_recorders(service.port, 1000 + number)
        with ThreadPoolExecutor(1) as threads:
            recording = threads.submit(record, recorders)
            time.sleep(0.2)
            primary.kill()
            other.promote()
            histories += recording.result()
        primary, other = other, primary
        follow(other, primary)
    assert_explained(histories, figures)


@pytest.mark.parametrize(
    "mutant", ["lost update", "stale read", "limit off by one", "doubled create"]
)
def test_the_check_finds_a_service_with_a_fault(
    postgres: Postgres, mutant: str, figures: Any
) -> None:
    settings = {"LOG_LEVEL": "critical", "MUTANT": mutant, **SETTINGS}
    with serving(postgres.url(), app="tests.support.mutants:app", **settings) as service:
        histories = record(new_recorders(service.port, 2000))
        histories += record(new_recorders(service.port, 2001))
    found = [find_violation(history, LIMIT) for history in histories]
    figures(violations=str(found))
    part = "task" if mutant in ("lost update", "stale read") else "the number of tasks"
    assert any(violation and violation.startswith(part) for violation in found)
