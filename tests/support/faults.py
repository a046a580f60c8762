"""Faults of the database, and the promises that hold for clients during them."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from tests.support.load import CATALOG_503, Load, Record, look_for, wait_for
from tests.support.postgres import Postgres

RECOVERY = 5  # seconds from the return of the database until every client is served again
LONGEST = 6  # seconds for an answer
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
    """Assert that no write was lost or doubled and every failure was a documented 503."""
    findings = look_for(record, postgres.url())
    figures(record, findings, **more)
    assert (findings.lost, findings.doubled) == (0, 0)
    assert findings.acknowledged > 100
    assert record.longest() < LONGEST
    assert set(record.statuses()) <= {200, 201, 503}
    assert set(record.codes()) <= CATALOG_503
    assert all(answer.retry_after for answer in record.answers if answer.status == 503)


def recovered(record: Record, since: float) -> Callable[[], bool]:
    """Return a check whether the last 32 answers, from every connection, were successes."""

    def check() -> bool:
        latest = record.answers[-32:]
        return latest[0].at > since and all(answer.status < 300 for answer in latest)

    return check


def assert_loads_kept(
    loads: tuple[Load, Load], primary: Postgres, figures: Any, **more: Any
) -> None:
    """Assert what `assert_kept` does for two loads: without and with Idempotency-Keys."""
    for load in loads:
        record, findings = load.record, look_for(load.record, primary.url())
        figures(record, findings, **more)
        assert (findings.lost, findings.doubled) == (0, 0)
        assert findings.acknowledged > 20
        assert set(record.statuses()) <= {200, 201, 503}
        assert set(record.codes()) <= CATALOG_503
        assert all(answer.retry_after for answer in record.answers if answer.status == 503)


def wait_until_recovered(loads: tuple[Load, Load], seconds: float) -> float:
    """Wait until both loads are served again, and return the seconds it took."""
    since = time.monotonic()
    wait_for(lambda: all(recovered(load.record, since)() for load in loads), seconds)
    return time.monotonic() - since


@contextmanager
def holding(postgres: Postgres, lock: str) -> Iterator[None]:
    """Hold a lock in a transaction."""
    with closing(psycopg2.connect(postgres.url())) as conn:
        with conn.cursor() as cursor:
            cursor.execute(lock)
        yield
        conn.rollback()
