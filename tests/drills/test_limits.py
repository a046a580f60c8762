"""Half a CPU and 512 MB are enough, and resource use does not grow with the number of requests."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.callers import UNLIMITED
from tests.support.credentials import PASSWORD
from tests.support.database import run_sql
from tests.support.drills import SHORT
from tests.support.load import Client, Load, look_for
from tests.support.postgres import Postgres
from tests.support.processes import Group, megabytes
from tests.support.service import Service, production_env

CPUS, MEMORY = 0.5, 512  # megabytes
SECONDS = 15 if SHORT else 60
REQUESTS = 10_000 if SHORT else 200_000
PARTS = 10  # of the soak test; the first one is its warm-up
GROWTH = 8  # megabytes, after the warm-up
AGE = """
UPDATE refresh_tokens
SET issued_at = issued_at - interval '1 minute', rotated_at = rotated_at - interval '1 minute'
"""


class Visitors(Load):
    """A load that also refreshes its sessions, with clients that log in and out."""

    def __init__(self, port: int, logins: int) -> None:
        super().__init__(port)
        self.refreshes = 0
        self._sessions = [
            Client(port, client.cookies["__Secure-refresh_token"]) for client in self.clients
        ]
        self._logins = [Client(port) for _ in range(logins)]
        self._account = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
        assert self._logins[0]("POST", "/api/v1/auth/register", self._account)[0] == 201

    def run(self, is_over: Callable[[], bool]) -> None:
        """Run the load until a condition holds."""
        self._stop.clear()
        works: list[tuple[Callable[..., None], Any]] = [(self._work, c) for c in self.clients]
        works += [(self._keep_logging_in, client) for client in self._logins]
        threads = [threading.Thread(target=work, args=[client]) for work, client in works]
        threads.append(threading.Thread(target=self._keep_refreshing))
        for thread in threads:
            thread.start()
        while not is_over():
            time.sleep(0.05)
        self._stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a request hangs"

    def refresh_each(self) -> None:
        """Refresh every session once, and give its client the new token."""
        for client, session in zip(self.clients, self._sessions, strict=True):
            status, body = self.send(session, "POST", "/api/v1/auth/refresh")
            if status == 200:
                session.token, client.token = (
                    session.cookies["__Secure-refresh_token"],
                    body["accessToken"],
                )
                self.refreshes += 1

    def log_in_and_out(self, client: Client) -> None:
        """Start a session and end it."""
        client.token = None
        status, body = self.send(client, "POST", "/api/v1/auth/login", self._account)
        if status == 200:
            client.token = body["accessToken"]
            self.send(client, "POST", "/api/v1/auth/logout")

    def close(self) -> None:
        super().close()
        for client in [*self._sessions, *self._logins]:
            client.close()

    def _keep_refreshing(self) -> None:
        while not self._stop.is_set():
            self.refresh_each()
            time.sleep(0.2)

    def _keep_logging_in(self, client: Client) -> None:
        while not self._stop.is_set():
            self.log_in_and_out(client)


@pytest.fixture
def group() -> Iterator[Group]:
    group = Group(CPUS, MEMORY)
    yield group
    group.remove()


def test_half_a_cpu_and_512_mb_are_enough(
    group: Group, serve: Callable[..., Service], postgres: Postgres, figures: Any, tmp_path: Path
) -> None:
    group.write_launcher(tmp_path / "python")
    path = f"{tmp_path}:{production_env('')['PATH']}"
    # Heroku sets two workers for 512 MB.
    service = serve(postgres.url(), PATH=path, WEB_CONCURRENCY="2", **UNLIMITED)
    workers = service.workers(at_least=2)
    load = Visitors(service.port, logins=4)
    end = time.monotonic() + SECONDS
    load.run(lambda: time.monotonic() > end)
    load.close()
    findings = look_for(load.record, postgres.url())
    figures(
        load.record,
        findings,
        rate=f"{len(load.record.answers) / SECONDS:.0f}/s",
        peak=f"{group.peak():.0f} MB",
        workers=[f"{megabytes(worker):.0f} MB" for worker in service.workers()],
        throttled=f"{group.throttled()} times",
        killed=group.kills(),
    )
    assert group.throttled() > 0  # the limit was reached
    assert group.kills() == 0
    assert service.workers() == workers
    assert 50 < group.peak() < MEMORY
    assert set(load.record.statuses()) == {200, 201, 204}
    assert (findings.lost, findings.doubled) == (0, 0)


@dataclass
class Footprint:
    """The resources in use by a worker and in the database."""

    megabytes: float
    threads: int
    descriptors: int
    connections: int
    refresh_tokens: int
    sessions: int


def measure(worker: int, postgres: Postgres, load: Visitors) -> Footprint:
    """Measure without load, after rotated tokens have aged by a minute."""
    run_sql(postgres.url(), AGE)
    load.refresh_each()
    [(tokens, sessions)] = run_sql(
        postgres.url(),
        "SELECT (SELECT count(*) FROM refresh_tokens), (SELECT count(*) FROM sessions)",
    )
    process = psutil.Process(worker)
    return Footprint(
        megabytes(worker),
        process.num_threads(),
        process.num_fds(),
        len(postgres.backends()),
        tokens,
        sessions,
    )


def test_resource_use_does_not_grow_with_the_requests(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    # glibc may keep the 19 MB of a hash. This setting makes it always return them.
    service = serve(postgres.url(), MALLOC_MMAP_THRESHOLD_="1000000", **UNLIMITED)
    [worker] = service.workers()
    load = Visitors(service.port, logins=1)
    started = time.monotonic()
    measured = []
    for part in range(PARTS):
        end = (part + 1) * REQUESTS // PARTS
        load.run(lambda: len(load.record.answers) >= end)
        measured.append(measure(worker, postgres, load))
    load.close()
    took = time.monotonic() - started
    first, last = measured[0], measured[-1]
    pairs = zip(asdict(first).items(), asdict(last).values(), strict=True)
    trend = {name: f"{before:.4g} to {after:.4g}" for (name, before), after in pairs}
    figures(load.record, refreshes=load.refreshes, took=took, **trend)
    assert set(load.record.statuses()) == {200, 201, 204}
    assert last.megabytes < first.megabytes + GROWTH
    assert last.threads <= first.threads + 1
    assert last.descriptors <= first.descriptors + 4
    assert last.connections <= max(first.connections, 8)
    assert (last.refresh_tokens, last.sessions) == (first.refresh_tokens, first.sessions)
