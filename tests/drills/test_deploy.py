"""The service is stopped and replaced under load, as a platform does."""

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from tests.support.callers import UNLIMITED, Callers, count_unanswered
from tests.support.drills import SHORT
from tests.support.haproxy import Balancer
from tests.support.load import Client, look_for, wait_for
from tests.support.postgres import Postgres
from tests.support.service import Service

IN_FLIGHT = 10  # seconds of the longest request that a stop waits for in this drill
KILLED_AFTER = 30  # seconds until the platform kills the process
IDLE_EXIT = 15  # seconds for a stop without running requests (28 with plain gunicorn)
SILENT = 5.5  # seconds; gunicorn parks a connection that has sent nothing after 5
ROUNDS = 2 if SHORT else 10


@contextlib.contextmanager
def idle_connections(port: int) -> Iterator[None]:
    """Hold connections that were answered once, and some that sent nothing."""
    with contextlib.ExitStack() as stack:
        for number in range(6):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            if number % 2:
                sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        yield


@contextlib.contextmanager
def update_in_flight(client: Client, url: str) -> Iterator[list[tuple[int, float]]]:
    """Send an update that waits for a lock, and yield a list for its status and time."""
    status, task, _ = client("POST", "/api/v1/tasks", {"title": "to be locked"})
    assert status == 201
    answered: list[tuple[int, float]] = []

    def update() -> None:
        path = f"/api/v1/tasks/{task['id']}"
        status, _, _ = client("PATCH", path, {"description": "unlocked"})
        answered.append((status, time.monotonic()))

    holder = psycopg2.connect(url)
    holder.cursor().execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", [task["id"]])
    threads = [threading.Timer(IN_FLIGHT, holder.rollback), threading.Thread(target=update)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        for thread in threads:
            thread.join()
        holder.close()
        client.close()


def test_a_stop_under_load_drops_no_request_and_waits_for_no_idle_client(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url(), DB_STATEMENT_TIMEOUT="20")
    load = Callers(service.port)
    locked = Client(service.port, load.clients[0].token)
    with update_in_flight(locked, postgres.url()) as answered, idle_connections(service.port):
        with load:
            time.sleep(SILENT)
            stopped = time.monotonic()
            service.process.terminate()
            time.sleep(2)
        assert service.process.wait(KILLED_AFTER) == 0
        gone = time.monotonic()
    [(status, at)] = answered
    findings = look_for(load.record, postgres.url())
    figures(
        load.record,
        findings,
        unanswered=count_unanswered(load.record, postgres.url()) - 1,  # without the locked task
        after_sigterm=dict(load.record.statuses(since=stopped)),
        exit=gone - stopped,
        exit_after_the_last_answer=gone - at,
    )
    assert status == 200
    assert at > stopped + 2
    assert gone < at + IDLE_EXIT
    assert (findings.lost, findings.doubled) == (0, 0)
    assert count_unanswered(load.record, postgres.url()) == 1
    assert set(load.record.statuses()) == {0, 200, 201}
    assert set(load.record.codes()) <= {"refused", "closed"}


def stop(service: Service) -> float:
    """Send SIGTERM, and return the seconds until the process ended with exit code 0."""
    started = time.monotonic()
    service.process.terminate()
    assert service.process.wait(KILLED_AFTER) == 0
    return time.monotonic() - started


@pytest.mark.skipif(not shutil.which("haproxy"), reason="HAProxy is not installed")
def test_a_rolling_restart_fails_no_request(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    instances = [serve(postgres.url(), **UNLIMITED) for _ in range(2)]
    balancer = Balancer([instance.port for instance in instances])
    stops = []
    try:
        wait_for(lambda: all(balancer.is_up(instance.port) for instance in instances), 5)
        with Callers(balancer.port) as load:
            for number in [0, 1] * ROUNDS:
                time.sleep(0.5)
                port = instances[number].port
                stops.append(stop(instances[number]))
                instances[number] = serve(postgres.url(), port=port, **UNLIMITED)
                wait_for(lambda: balancer.is_up(port), 10)
    finally:
        balancer.remove()
    findings = look_for(load.record, postgres.url())
    unanswered = count_unanswered(load.record, postgres.url())
    more = {"restarts": len(stops), "slowest_exit": max(stops)}
    figures(load.record, findings, unanswered=unanswered, **more)
    assert (findings.lost, findings.doubled, unanswered) == (0, 0, 0)
    assert set(load.record.statuses()) == {200, 201}
