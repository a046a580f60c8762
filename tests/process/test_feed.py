"""The feed of changes converges under concurrent writes, because a lock orders their numbers."""

from typing import Any

import pytest

from taskflow.config import Config
from taskflow.tasks import queries
from tests.support.database import run_sql
from tests.support.feed import Feed
from tests.support.mirrors import Send
from tests.support.users import User

ROUNDS = 10

# The trigger for an operator's SQL, which here reads the number before it locks the user.
EARLY_TRIGGER = """
CREATE OR REPLACE FUNCTION taskflow_number_update() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  SELECT change_number + 1 INTO NEW.version FROM users WHERE id = NEW.user_id;
  PERFORM pg_sleep(0.02);
  UPDATE users
  SET change_number = GREATEST(change_number, NEW.version)
  WHERE id = NEW.user_id;
  RETURN NEW;
END $$
"""


@pytest.fixture
def feed(config: Config, alice: User) -> Feed:
    """Return writers and mirrors of a user."""

    def send(method: str, path: str, body: Any = None) -> tuple[int, Any]:
        response = alice.request(method, path, **({} if body is None else {"json": body}))
        return response.status_code, response.json if response.data else None

    def connect() -> Send:
        return send

    return Feed(config.database_url or "", alice.id, connect)


def test_every_mirror_ends_equal_to_the_database(feed: Feed) -> None:
    for _ in range(ROUNDS):
        assert feed.run_round() == 0
    assert feed.answers[200] > 100
    assert min(feed.commits, feed.kills, *(mirror.pages for mirror in feed.mirrors)) > 20


def read_number_early(sql: str) -> str:
    """Return the statement of an update that reads the number without the user's lock."""
    for old, new in (
        ("SELECT users.id,", "SELECT pg_sleep(0.02), users.id,"),
        ("FOR NO KEY UPDATE OF users", ""),
        ("change_number = updated.version", "change_number = GREATEST(change_number, version)"),
    ):
        assert old in sql
        sql = sql.replace(old, new)
    return sql


def test_an_update_that_reads_its_number_before_the_lock_is_detected(
    feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = queries._update_task_sql
    monkeypatch.setattr(
        queries, "_update_task_sql", lambda *args: read_number_early(original(*args))
    )
    assert any(feed.run_round() for _ in range(ROUNDS))


def test_a_trigger_that_reads_its_number_before_the_lock_is_detected(
    feed: Feed, config: Config
) -> None:
    url = config.database_url or ""
    [(original,)] = run_sql(url, "SELECT pg_get_functiondef('taskflow_number_update'::regproc)")
    run_sql(url, EARLY_TRIGGER)
    try:
        assert any(feed.run_round() for _ in range(ROUNDS))
    finally:
        run_sql(url, original)
