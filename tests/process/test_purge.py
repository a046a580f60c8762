"""The purge deletes expired sessions and old idempotency keys, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from taskflow import commands
from taskflow.config import Config
from tests.support.service import production_env, run
from tests.support.users import User


def test_the_purge_deletes_expired_sessions_and_old_keys(
    alice: User, bob: User, sql: Callable[..., Any], config: Config
) -> None:
    alice.post("/tasks", {"title": "old"}, headers={"Idempotency-Key": "old"})
    alice.post("/tasks", {"title": "new"}, headers={"Idempotency-Key": "new"})
    sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old'")
    sql("UPDATE sessions SET expires_at = now() WHERE user_id = %s", alice.id)
    done = run("python -m taskflow purge", production_env(config.database_url or ""))
    assert (done.stdout, done.returncode) == (
        "taskflow: deleted 1 sessions and 1 idempotency keys\n",
        0,
    )
    assert sql("SELECT user_id::text FROM sessions") == [(bob.id,)]
    assert sql("SELECT count(*) FROM refresh_tokens") == [(1,)]
    assert sql("SELECT key FROM idempotency_keys") == [("new",)]
    assert len(alice.titles()) == 2


def test_the_purge_deletes_batches_until_nothing_is_left(
    alice: User, sql: Callable[..., Any], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        alice.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": str(number)})
    sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    monkeypatch.setattr(commands, "BATCH", 2)
    assert commands.purge(config) == "deleted 0 sessions and 5 idempotency keys"
    assert commands.purge(config) == "deleted 0 sessions and 0 idempotency keys"


def test_an_unknown_command_prints_the_usage(config: Config) -> None:
    done = run("python -m taskflow frobnicate", production_env(config.database_url or ""))
    assert done.stderr.startswith("usage: python -m taskflow [-h] COMMAND")
    assert "'frobnicate'" in done.stderr
    assert done.returncode == 2
