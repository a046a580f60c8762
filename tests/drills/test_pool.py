"""The pool survives too many slow requests, endless statements, and a silent server."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

from tests.support.credentials import PASSWORD
from tests.support.database import run_sql
from tests.support.drills import SHORT
from tests.support.faults import LONGEST, RECOVERY, SLEEP, holding, recovered
from tests.support.load import CATALOG_503, Answer, Load, look_for, wait_for
from tests.support.postgres import Postgres
from tests.support.service import Service

NARROW = {"DB_POOL_MAX": "2", "DB_POOL_TIMEOUT": "1", "DB_STATEMENT_TIMEOUT": "2"}
PROBE = 3  # seconds for a health check, however long other requests wait
CLIENTS = 8  # as many as WEB_THREADS, so that no client waits for a thread
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskflow'"
WAITING = f"{SESSIONS} AND wait_event_type = 'Lock'"


def ask(threads: ThreadPoolExecutor, load: Load, clients: int, *request: Any) -> list[Future]:
    """Send a request from a number of clients at once."""
    return [threads.submit(load.send, client, *request) for client in load.clients[:clients]]


def ask_all(threads: ThreadPoolExecutor, load: Load, *request: Any) -> list[Answer]:
    """Send a request from every client at once, and return the answers."""
    before = len(load.record.answers)
    for future in ask(threads, load, len(load.clients), *request):
        future.result()
    return load.record.answers[before:]


def assert_no_slot_is_lost(threads: ThreadPoolExecutor, load: Load, postgres: Postgres) -> None:
    """Assert that as many slow requests run at the same time as there are connections."""
    with holding(postgres, "LOCK TABLE tasks"):
        slow = ask(threads, load, 2, "GET", "/api/v1/tasks")
        wait_for(lambda: run_sql(postgres.url(), WAITING) == [(2,)], 1.5)
    assert [future.result()[0] for future in slow] == [200, 200]
    assert run_sql(postgres.url(), SESSIONS) == [(2,)]


def test_a_repeatedly_exhausted_pool_loses_no_slot(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url(), **NARROW)
    requests = (("GET", "/api/v1/tasks"), ("POST", "/api/v1/tasks", {"title": "x"}))
    waits, most = [], 0
    with closing(Load(service.port, CLIENTS)) as load, ThreadPoolExecutor(CLIENTS) as threads:
        for turn in range(2 if SHORT else 10):
            with holding(postgres, "LOCK TABLE tasks"):
                answers = ask_all(threads, load, *requests[turn % 2])
                [(sessions,)] = run_sql(postgres.url(), SESSIONS)
            most = max(most, sessions)
            waits += [a.seconds for a in answers if a.code == "pool_exhausted"]
            assert Counter(a.code for a in answers) == {
                "pool_exhausted": CLIENTS - 2,
                "query_timeout": 2,
            }
            assert_no_slot_is_lost(threads, load, postgres)
    figures(load.record, longest_wait=max(waits), most_connections=most)
    assert max(waits) < 2  # DB_POOL_TIMEOUT + 1 s
    assert most <= 2
    assert all(a.retry_after for a in load.record.answers if a.status == 503)


def test_transactions_that_time_out_are_rolled_back_and_lose_no_slot(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url(), **NARROW)
    change = ("PUT", "/api/v1/auth/password")
    passwords = {"currentPassword": PASSWORD, "newPassword": "another horse battery"}
    with closing(Load(service.port, CLIENTS)) as load, ThreadPoolExecutor(CLIENTS) as threads:
        for _ in range(1 if SHORT else 5):
            # The first statement of the transaction passes, the second one waits.
            with holding(postgres, "LOCK TABLE sessions IN SHARE MODE"):
                answers = ask_all(threads, load, *change, passwords)
            assert {a.code for a in answers} == {"query_timeout", "pool_exhausted"}
            assert_no_slot_is_lost(threads, load, postgres)
        # The old passwords are still valid.
        answers = [load.send(client, *change, passwords)[0] for client in load.clients]
    figures(load.record)
    assert answers == [204] * CLIENTS


def test_endless_statements_time_out_and_delay_no_other_request(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    turns = 1 if SHORT else 5
    run_sql(postgres.url(), SLEEP)
    service = serve(postgres.url(), DB_STATEMENT_TIMEOUT="0.5")
    slow = Load(service.port, clients=1)
    with closing(slow), Load(service.port, clients=4) as load:
        [client] = slow.clients
        status, task = slow.send(client, "POST", "/api/v1/tasks", {"title": "locked"})
        assert status == 201
        path = f"/api/v1/tasks/{task['id']}"
        for _ in range(turns):
            slow.send(client, "POST", "/api/v1/tasks", {"title": "slow"})
            with holding(postgres, "SELECT FROM tasks WHERE title = 'locked' FOR UPDATE"):
                slow.send(client, "PATCH", path, {"priority": "high"})
        cut_off = slow.record.answers[1:]
        run_sql(postgres.url(), "DROP TRIGGER sleep ON tasks")
        assert slow.send(client, "PATCH", path, {"priority": "high"})[0] == 200
        assert slow.send(client, "POST", "/api/v1/tasks", {"title": "slow"})[0] == 201
    figures(slow.record, the_others=dict(load.record.statuses()))
    assert [(a.status, a.code, a.retry_after) for a in cut_off] == [
        (503, "query_timeout", True)
    ] * turns * 2
    assert all(0.4 < a.seconds < 4 for a in cut_off)
    assert set(load.record.statuses()) == {200, 201}
    assert run_sql(postgres.url(), "SELECT count(*) FROM tasks WHERE title = 'slow'") == [(1,)]


def probe(service: Service, path: str, until: float) -> list[tuple[int, float]]:
    """Send health checks until a time, and return each status and the seconds it took."""
    probes = []
    while (started := time.monotonic()) < until:
        status, _, _ = service.get(path)
        probes.append((status, time.monotonic() - started))
        time.sleep(0.25)
    return probes


def test_the_service_recovers_from_a_silent_server(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url())
    half = CLIENTS // 2
    plain, keyed = Load(service.port, half), Load(service.port, half, idempotent=True)
    with plain, keyed:
        time.sleep(1)
        postgres.send(signal.SIGSTOP)
        over = time.monotonic() + 8
        try:
            time.sleep(0.5)  # until every client waits
            with ThreadPoolExecutor(2) as threads:
                health, live = (
                    threads.submit(probe, service, path, over - 1)
                    for path in ("/health", "/health/live")
                )
            time.sleep(max(0, over - time.monotonic()))
        finally:
            postgres.send(signal.SIGCONT)
        back = time.monotonic()
        took = max(wait_for(recovered(load.record, back), RECOVERY) for load in (plain, keyed))
        time.sleep(1)
    for load in (plain, keyed):
        record, findings = load.record, look_for(load.record, postgres.url())
        figures(
            record,
            findings,
            recovery=took,
            slowest_health=max(seconds for _, seconds in health.result()),
            slowest_live=max(seconds for _, seconds in live.result()),
        )
        assert (findings.lost, findings.doubled) == (0, 0)
        assert findings.acknowledged > 20
        assert set(record.statuses()) <= {200, 201, 503}
        assert set(record.codes()) <= CATALOG_503
        assert all(a.retry_after for a in record.answers if a.status == 503)
        longest = record.longest()
        assert longest < LONGEST + 1  # for a busy machine
    assert {status for status, _ in health.result()} == {503}
    assert {status for status, _ in live.result()} == {200}
    slowest = max(seconds for _, seconds in health.result() + live.result())
    assert slowest < PROBE + 1  # for a busy machine
