"""The commands for operators do their work and print one line, also when they fail."""

import re
import subprocess
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from flask import Flask

from taskflow.commands import purge as expired
from taskflow.commands.accounts import list_users
from taskflow.commands.cli import COMMANDS
from taskflow.commands.purge import purge
from taskflow.config import Config
from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.service import free_port, production_env, run
from tests.support.users import User

Command = Callable[[str], subprocess.CompletedProcess[str]]
NEW = "new horse battery"


@pytest.fixture
def command(config: Config) -> Command:
    """Return a function that runs a command."""
    env = production_env(config.database_url or "")
    return lambda arguments: run(f"python -m taskflow {arguments}", env)


def log_in(app: Flask, email: str, password: str) -> int:
    credentials = {"email": email, "password": password}
    return app.test_client().post("/api/v1/auth/login", json=credentials).status_code


def test_the_commands_are_listed_without_a_command(command: Command) -> None:
    for arguments in ("", "--help"):
        done = command(arguments)
        assert (done.returncode, done.stderr) == (0, "")
        for name, described in COMMANDS.items():
            assert re.search(rf"^ +{name}\s+{re.escape(described.summary)}$", done.stdout, re.M)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_own_help(command: Command, name: str) -> None:
    done = command(f"{name} --help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: python -m taskflow {name} [-h]")
    assert ("EMAIL" in done.stdout) == COMMANDS[name].takes_email


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("frobnicate", "invalid choice: 'frobnicate'"),
        ("reset-password", "the following arguments are required: EMAIL"),
        ("end-sessions", "the following arguments are required: EMAIL"),
        ("users ann@example.com", "unrecognized arguments: ann@example.com"),
    ],
    ids=["unknown", "reset-password without email", "end-sessions without email", "surplus"],
)
def test_wrong_arguments_end_with_the_usage(
    command: Command, arguments: str, complaint: str
) -> None:
    done = command(arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m taskflow")
    assert complaint in done.stderr


@pytest.mark.parametrize("name", ["reset-password", "end-sessions"])
@pytest.mark.parametrize(
    "email", ["nobody@example.com", "''", "\udcff@x"], ids=["unknown", "empty", "not UTF-8"]
)
def test_an_unknown_email_is_reported_in_one_line(command: Command, name: str, email: str) -> None:
    done = command(f"{name} {email}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"taskflow: {name} failed: ")


@pytest.mark.parametrize(
    "arguments", ["users", "reset-password a@b.example", "end-sessions a@b.example", "purge"]
)
def test_a_missing_database_is_reported_in_one_line(arguments: str) -> None:
    nowhere = f"postgresql://user:hunter2@127.0.0.1:{free_port()}/taskflow"
    done = run(f"python -m taskflow {arguments}", production_env(nowhere))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Connection refused" in done.stderr
    assert "hunter2" not in done.stderr


def test_users_are_listed_with_their_tasks_and_live_sessions(
    alice: User, bob: User, command: Command, sql: Callable[..., Any]
) -> None:
    alice.task()
    alice.task()
    alice.log_in_again()
    sql("UPDATE sessions SET expires_at = now() WHERE user_id = %s", bob.id)
    done = command("users")
    assert done.returncode == 0
    created = [user.session.json["user"]["createdAt"] for user in (alice, bob)]
    assert done.stdout.splitlines() == [
        f"alice@example.com\t{alice.id}\t{created[0]}\t2\t2",
        f"bob@example.com\t{bob.id}\t{created[1]}\t0\t0",
    ]


def test_users_are_read_in_batches(
    alice: User, bob: User, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.commands.accounts.BATCH", 1)
    emails = [line.split("\t")[0] for line in list_users(config).splitlines()]
    assert emails == [alice.email, bob.email]


def test_users_prints_nothing_if_there_are_no_accounts(command: Command) -> None:
    done = command("users")
    assert (done.returncode, done.stdout) == (0, "")


def test_reset_password_prints_a_token_as_its_last_word(
    alice: User, app: Flask, command: Command
) -> None:
    done = command("reset-password ALICE@example.com")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert alice.get("/auth/me").status_code == 200  # nothing has changed yet
    body = {"token": done.stdout.split()[-1], "newPassword": NEW}
    client = app.test_client()
    assert client.post("/api/v1/auth/password/reset", json=body).status_code == 204
    assert log_in(app, alice.email, NEW) == 200


def test_end_sessions_ends_all_sessions_of_one_user(
    alice: User, bob: User, app: Flask, command: Command
) -> None:
    alice.log_in_again()
    done = command("end-sessions alice@example.com")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "taskflow: ended 2 sessions of alice@example.com\n"
    assert_error(alice.get("/tasks"), 401, "auth_revoked")
    assert bob.get("/tasks").status_code == 200
    assert log_in(app, alice.email, PASSWORD) == 200


def test_the_purge_deletes_what_has_expired(
    alice: User, bob: User, sql: Callable[..., Any], command: Command
) -> None:
    alice.post("/tasks", {"title": "old"}, headers={"Idempotency-Key": "old"})
    alice.post("/tasks", {"title": "new"}, headers={"Idempotency-Key": "new"})
    sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old'")
    sql("UPDATE sessions SET expires_at = now() WHERE user_id = %s", alice.id)
    done = command("purge")
    assert (done.stdout, done.returncode) == (
        "taskflow: deleted 1 sessions and 1 idempotency keys, and forgot 0 deleted tasks\n",
        0,
    )
    assert sql("SELECT user_id::text FROM sessions") == [(bob.id,)]
    assert sql("SELECT count(*) FROM refresh_tokens") == [(1,)]
    assert sql("SELECT key FROM idempotency_keys") == [("new",)]
    assert len(alice.log_in_again().titles()) == 2


def test_the_purge_forgets_tasks_that_were_deleted_over_30_days_ago(
    alice: User, bob: User, sql: Callable[..., Any], config: Config
) -> None:
    gone, old, fresh = (alice.task()["id"] for _ in range(3))
    other = bob.task()["id"]
    for task_id in (gone, old, fresh):
        alice.delete(f"/tasks/{task_id}")
    bob.delete(f"/tasks/{other}")
    versions = dict(sql("SELECT id::text, version FROM deleted_tasks"))
    sql(
        "UPDATE deleted_tasks SET deleted_at = now() - interval '30 days' WHERE id IN (%s, %s)",
        gone,
        old,
    )
    assert purge(config).endswith("and forgot 2 deleted tasks")
    assert {task_id for (task_id,) in sql("SELECT id::text FROM deleted_tasks")} == {fresh, other}
    purged = dict(sql("SELECT id::text, purged_number FROM users"))
    assert purged == {alice.id: versions[old], bob.id: 0}
    assert purge(config).endswith("and forgot 0 deleted tasks")


def test_the_purge_passes_over_a_user_who_is_writing(
    alice: User, bob: User, sql: Callable[..., Any], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in (alice, alice, alice, bob):
        user.delete(f"/tasks/{user.task()['id']}")
    sql("UPDATE deleted_tasks SET deleted_at = now() - interval '31 days'")
    monkeypatch.setattr(expired, "BATCH", 2)
    with closing(psycopg2.connect(config.database_url)) as writer, writer.cursor() as cursor:
        cursor.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", [alice.id])
        assert purge(config).endswith("and forgot 1 deleted tasks")
        writer.rollback()
    assert sql("SELECT DISTINCT user_id::text FROM deleted_tasks") == [(alice.id,)]
    assert purge(config).endswith("and forgot 3 deleted tasks")


def test_the_purge_deletes_batches_until_nothing_is_left(
    alice: User, sql: Callable[..., Any], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        task = alice.post("/tasks", {"title": "x"}, headers={"Idempotency-Key": str(number)}).json
        alice.delete(f"/tasks/{task['id']}")
    sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    sql("UPDATE deleted_tasks SET deleted_at = now() - interval '31 days'")
    monkeypatch.setattr(expired, "BATCH", 2)
    answer = "taskflow: deleted 0 sessions and {} idempotency keys, and forgot {} deleted tasks"
    assert purge(config) == answer.format(5, 5)
    assert sql("SELECT purged_number = change_number FROM users") == [(True,)]
    assert purge(config) == answer.format(0, 0)
