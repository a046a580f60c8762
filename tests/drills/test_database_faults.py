"""The database stops, crashes, or loses its sessions under load, and the service recovers."""

import time
from collections.abc import Callable
from typing import Any

from tests.support.database import run_sql
from tests.support.faults import KILL_SESSIONS, RECOVERY, assert_kept, recovered
from tests.support.load import Load, look_for, wait_for
from tests.support.postgres import Postgres
from tests.support.service import Service


def test_the_service_recovers_from_a_stopped_database(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url())
    with Load(service.port) as load:
        time.sleep(2)
        postgres.stop()
        stopped = time.monotonic()
        slowest_health = 0.0
        while time.monotonic() < stopped + 10:
            started = time.monotonic()
            status, body, _ = service.get("/health")
            slowest_health = max(slowest_health, time.monotonic() - started)
            assert (status, body["status"]) == (503, "unhealthy")
            assert service.get("/health/live")[0] == 200
            time.sleep(0.25)
        assert slowest_health < 3
        while_away = load.record.statuses(since=stopped + 0.5)
        assert set(while_away) == {503}
        postgres.start()
        back = time.monotonic()
        took = wait_for(recovered(load.record, back), RECOVERY)
        assert service.get("/health")[0] == 200
        time.sleep(1)
    assert_kept(load.record, postgres, figures, slowest_health=slowest_health, recovery=took)


def test_the_service_recovers_from_a_database_crash(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url())
    with Load(service.port) as load:
        time.sleep(2)
        postgres.stop("immediate")
        postgres.start()
        back = time.monotonic()
        took = wait_for(recovered(load.record, back), RECOVERY)
        time.sleep(1)
    assert_kept(load.record, postgres, figures, recovery=took)


def test_the_service_survives_repeatedly_killed_sessions(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url())
    with Load(service.port) as load:
        for _ in range(10):
            time.sleep(0.5)
            run_sql(postgres.url(), KILL_SESSIONS)
        took = wait_for(recovered(load.record, time.monotonic()), RECOVERY)
    assert_kept(load.record, postgres, figures, recovery=took)
    reads = [answer.status for answer in load.record.answers if answer.method == "GET"]
    assert set(reads) == {200}  # the service runs a read again


def test_sessions_killed_between_requests_fail_no_request(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url())
    load = Load(service.port, clients=1)
    client, record = load.clients[0], load.record
    for number in range(20):
        run_sql(postgres.url(), KILL_SESSIONS.replace("(pid)", "(pid, 5000)"))
        method, path = ("GET", "/api/v1/tasks") if number % 2 else ("POST", "/api/v1/tasks")
        load.send(client, method, path, None if method == "GET" else {"title": str(number)})
    load.close()
    figures(record)
    assert record.statuses() == {200: 10, 201: 10}


def test_idempotency_keys_leave_no_write_in_doubt(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url())
    with Load(service.port, idempotent=True) as load:
        for _ in range(3):
            time.sleep(1)
            postgres.stop("immediate")
            postgres.start()
        took = wait_for(recovered(load.record, time.monotonic()), RECOVERY)
    findings = look_for(load.record, postgres.url())
    figures(load.record, findings, recovery=took)
    assert (findings.lost, findings.doubled) == (0, 0)
    # Every write was acknowledged in the end, and was stored exactly once.
    [(held,)] = run_sql(postgres.url(), "SELECT count(*) FROM tasks")
    assert held - len(load.record.created) <= len(
        load.clients
    )  # the load ended before these got an answer
