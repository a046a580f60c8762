"""The primary dies or becomes silent, a standby takes over, and the service follows."""

import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.credentials import PASSWORD
from tests.support.database import run_sql
from tests.support.drills import SHORT
from tests.support.faults import (
    KILL_SESSIONS,
    LONGEST,
    RECOVERY,
    assert_loads_kept,
    wait_until_recovered,
)
from tests.support.load import Load, wait_for
from tests.support.postgres import Postgres
from tests.support.service import Service
from tests.support.standby import follow

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskflow'"


def url_of(*ports: int) -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://postgres@{hosts}/taskflow"


def test_the_service_follows_the_standby_after_the_primary_was_killed(
    postgres: Postgres, standby: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(url_of(postgres.port, standby.port))
    primary, other = postgres, standby
    promotions, followed = [], []
    loads = plain, keyed = Load(service.port, 8), Load(service.port, 8, idempotent=True)
    with plain, keyed:
        for _ in range(1 if SHORT else 4):
            time.sleep(1)
            killed = time.monotonic()
            primary.send(signal.SIGKILL)
            other.promote()
            promotions.append(time.monotonic() - killed)
            followed.append(wait_until_recovered(loads, RECOVERY))
            primary, other = other, primary
            follow(other, primary)  # the dead primary returns as a standby
            run_sql(primary.url(), KILL_SESSIONS)
            wait_until_recovered(loads, RECOVERY)
            wait_for(lambda: run_sql(other.url(), SESSIONS) == [(0,)], RECOVERY)
    assert_loads_kept(loads, primary, figures, promotion=max(promotions), followed=max(followed))
    # With keys, every write was acknowledged in the end, and was stored exactly once.
    [(held,)] = run_sql(primary.url(), "SELECT count(*) FROM idempotency_keys")
    assert held - len(keyed.record.created) <= len(
        keyed.clients
    )  # the load ended before these got an answer


@pytest.mark.skipif(SHORT, reason="takes long")
def test_the_service_follows_the_standby_after_the_primary_went_silent(
    postgres: Postgres, standby: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(url_of(postgres.port, standby.port))
    loads = plain, keyed = Load(service.port, 4), Load(service.port, 4, idempotent=True)
    try:
        with plain, keyed:
            time.sleep(1)
            postgres.send(signal.SIGSTOP)
            silent = time.monotonic()
            standby.promote()
            # Waiting requests give up on the old primary; later connects still try it first.
            wait_until_recovered(loads, LONGEST + RECOVERY)
            took = time.monotonic() - silent
            assert service.get("/health")[0] == 200
            time.sleep(1)
    finally:
        postgres.send(signal.SIGKILL)  # it must not return as a second primary
    assert_loads_kept(loads, standby, figures, failover=took)
    longest = max(load.record.longest() for load in loads)
    assert longest < LONGEST + 1  # for a busy machine


@pytest.mark.parametrize("hosts", [2] if SHORT else [1, 2, 3], ids="silent hosts: {}".format)
def test_requests_fail_in_time_when_every_host_is_silent(
    hosts: int, serve: Callable[..., Service], figures: Any
) -> None:
    def ask(method: str, path: str, body: Any) -> tuple[int, float]:
        started = time.monotonic()
        status, _, _ = service.request(method, path, body)
        return status, time.monotonic() - started

    credentials = {"email": "ann@example.com", "password": PASSWORD}
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        silent = [  # accepts no connection
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(hosts)
        ]
        service = serve(url_of(*(sock.getsockname()[1] for sock in silent)))
        health = threads.submit(ask, "GET", "/health", None)
        login = threads.submit(ask, "POST", "/api/v1/auth/login", credentials)
        (health_status, health_took), (login_status, login_took) = health.result(), login.result()
    figures(health=health_took, login=login_took)
    assert (health_status, login_status) == (503, 503)
    assert login_took < 2 * hosts + 1  # libpq gives each host two seconds at the least
    assert health_took < 3
