"""Faults of the database, and what holds for the clients through them."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from tests.support.load import CATALOG_503, Load, Record, look_for, wait_for
from tests.support.postgres import Postgres

RECOVERY = 5  # seconds, from the database's return until everybody is served again
LONGEST = 6  # seconds, for any answer
KILL_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'taskflow'
"""
SLEEP = """
CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_sleep(5);
  RETURN NEW;
END $$;
CREATE TRIGGER sleep BEFORE INSERT ON tasks
FOR EACH ROW WHEN (NEW.title = 'slow') EXECUTE FUNCTION sleep()
"""


def assert_kept(record: Record, postgres: Postgres, figures: Any, **more: Any) -> None:
    """Assert what holds in every such drill, and print its figures."""
    findings = look_for(record, postgres.url())
    figures(record, findings, **more)
    assert (findings.lost, findings.doubled) == (0, 0)
    assert findings.acknowledged > 100
    assert record.longest() < LONGEST
    assert set(record.statuses()) <= {200, 201, 503}
    assert set(record.codes()) <= CATALOG_503
    assert all(answer.retry_after for answer in record.answers if answer.status == 503)


def recovered(record: Record, since: float) -> Callable[[], bool]:
    """Whether the last 32 answers were all fine, and so every connection's."""

    def check() -> bool:
        latest = record.answers[-32:]
        return latest[0].at > since and all(answer.status < 300 for answer in latest)

    return check


def assert_loads_kept(
    loads: tuple[Load, Load], primary: Postgres, figures: Any, **more: Any
) -> None:
    """Assert what holds for the clients without and with Idempotency-Keys, and print it."""
    for load in loads:
        record, findings = load.record, look_for(load.record, primary.url())
        figures(record, findings, **more)
        assert (findings.lost, findings.doubled) == (0, 0)
        assert findings.acknowledged > 20
        assert set(record.statuses()) <= {200, 201, 503}
        assert set(record.codes()) <= CATALOG_503
        assert all(answer.retry_after for answer in record.answers if answer.status == 503)


def wait_until_recovered(loads: tuple[Load, Load], seconds: float) -> float:
    """Wait until both are served again, and give the seconds it took."""
    since = time.monotonic()
    wait_for(lambda: all(recovered(load.record, since)() for load in loads), seconds)
    return time.monotonic() - since


@contextmanager
def holding(postgres: Postgres, lock: str) -> Iterator[None]:
    """Hold a lock in a transaction of the drill's own."""
    with closing(psycopg2.connect(postgres.url())) as conn:
        with conn.cursor() as cursor:
            cursor.execute(lock)
        yield
        conn.rollback()
