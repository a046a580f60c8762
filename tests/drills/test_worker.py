"""A worker process is killed under load, and the other one continues to serve."""

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import psutil

from tests.support.callers import UNLIMITED, Caller, Callers, count_unanswered
from tests.support.drills import SHORT
from tests.support.load import look_for, wait_for
from tests.support.postgres import Postgres
from tests.support.processes import megabytes, peer_ports
from tests.support.service import Service

BACK = 5  # seconds until another worker serves
KILLS = 2 if SHORT else 20
CONNECTIONS = 8  # of a worker to the database, one for each thread


def clients_of(worker: int, clients: list[Caller]) -> list[Caller]:
    """Return the clients whose connection a worker has."""
    ports = peer_ports(worker)
    return [client for client in clients if client.local_port() in ports]


def spread(clients: list[Caller], workers: list[int]) -> None:
    """Make clients reconnect until every worker has some; otherwise a client keeps its worker."""

    def check() -> bool:
        time.sleep(0.1)
        if any(client.reconnect for client in clients):
            return False
        if all(len(clients_of(worker, clients)) > 2 for worker in workers):
            return True
        for client in clients[::2]:
            client.reconnect = True
        return False

    wait_for(check, 10)


def answers(port: int, worker: int) -> bool:
    """Return whether this worker answers a new connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        return sock.getsockname()[1] in peer_ports(worker)


def kill_a_worker(service: Service, clients: list[Caller]) -> float:
    """Kill a worker, and return the seconds until another one serves in its place.

    Asserts that only the clients of the killed worker notice, and only once.
    """
    workers = service.workers(at_least=2)
    spread(clients, workers)
    hit = clients_of(workers[0], clients)
    before = {client: len(client.endings) for client in clients}
    os.kill(workers[0], signal.SIGKILL)

    def is_back() -> bool:
        new = set(service.workers()) - set(workers)
        return any(answers(service.port, worker) for worker in new)

    took = wait_for(is_back, BACK)
    time.sleep(0.5)
    for client in clients:
        assert len(client.endings) - before[client] <= (client in hit), client.endings
    return took


def test_a_worker_is_killed_again_and_again(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url(), WEB_CONCURRENCY="2", **UNLIMITED)
    service.workers(at_least=2)
    master = psutil.Process(service.process.pid)
    size, opened, took = megabytes(master.pid), master.num_fds(), []
    with Callers(service.port) as load:
        for _ in range(KILLS):
            time.sleep(0.5)
            took.append(kill_a_worker(service, load.clients))
    record = load.record
    findings = look_for(record, postgres.url())
    growth = megabytes(master.pid) - size
    figures(
        record,
        findings,
        unsure=count_unanswered(record, postgres.url()),
        kills=KILLS,
        recovery=max(took),
        master=f"{size:.1f} MB and {growth:+.1f}",
    )
    assert (findings.lost, findings.doubled) == (0, 0)
    assert findings.acknowledged > 100
    assert set(record.statuses()) == {0, 200, 201}
    assert "refused" not in record.codes()
    assert growth < 4
    assert master.num_fds() == opened
    assert len(master.children()) == 2
    wait_for(lambda: len(postgres.backends()) <= 2 * CONNECTIONS, 5)
