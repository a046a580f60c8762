"""The release updates stored values that earlier versions or an operator's SQL left out of date."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from taskflow.commands import upkeep
from taskflow.commands.release import release
from taskflow.config import Config
from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.service import production_env, run
from tests.support.users import User

UP_TO_DATE = "taskflow: no migration is missing"


def log_in(app: Flask, email: str) -> dict[str, Any]:
    credentials = {"email": email, "password": PASSWORD}
    return app.test_client().post("/api/v1/auth/login", json=credentials).json["user"]


def test_the_release_renews_the_keys_of_emails(
    app: Flask, sql: Callable[..., Any], config: Config
) -> None:
    ann = User(app, "ann@münchen.example")
    User(app, "bob@example.com")
    sql("UPDATE users SET email_key = lower(email)")
    assert log_in(app, ann.email)["id"] == ann.id  # before the release, too
    assert release(config) == f"{UP_TO_DATE}; renewed the keys of 1 emails"
    assert sql("SELECT email_key FROM users ORDER BY 1") == [
        ("ann@xn--mnchen-3ya.example",),
        ("bob@example.com",),
    ]
    assert release(config) == UP_TO_DATE


def test_the_release_keeps_accounts_apart_whose_emails_have_become_equal(
    app: Flask, sql: Callable[..., Any], config: Config
) -> None:
    first = User(app, "ann@xn--mnchen-3ya.example")
    second = User(app, "second@example.com")
    sql(
        "UPDATE users SET email = %s, email_key = %s WHERE id = %s",
        *("ann@münchen.example", "ann@münchen.example", second.id),
    )
    for _ in range(2):
        done = run("python -m taskflow release", production_env(config.database_url or ""))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            f"{UP_TO_DATE}; left apart, though their emails are those of others:"
            " ann@münchen.example\n"
        )
    assert log_in(app, first.email)["id"] == first.id
    assert log_in(app, "Ann@München.example")["id"] == second.id


def test_an_account_whose_domain_idna_refuses_keeps_working(
    alice: User, app: Flask, sql: Callable[..., Any], config: Config
) -> None:
    sql("UPDATE users SET email = 'ann@ab--çd.example', email_key = 'ann@ab--çd.example'")
    assert release(config) == UP_TO_DATE
    assert log_in(app, "Ann@AB--Çd.example")["id"] == alice.id


def test_the_release_computes_the_words_of_tasks_without_changing_them(
    alice: User, sql: Callable[..., Any], config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 2)
    made = [alice.task(title=f"Straße {n}", description="Zwei Liter") for n in range(5)]
    words = sql("SELECT title_words, description_words FROM tasks ORDER BY id")
    sql("UPDATE tasks SET title_words = NULL, description_words = NULL")
    sql("UPDATE tasks SET title_words = ' strasse 0' WHERE id = %s", made[0]["id"])
    assert release(config) == f"{UP_TO_DATE}; computed the words of 5 tasks"
    assert sql("SELECT title_words, description_words FROM tasks ORDER BY id") == words
    assert [alice.get(f"/tasks/{task['id']}").json for task in made] == made
    assert release(config) == UP_TO_DATE


def test_the_release_corrects_the_counts_of_tasks(
    alice: User, bob: User, sql: Callable[..., Any], config: Config
) -> None:
    alice.task()
    sql("UPDATE users SET task_count = 7")
    assert release(config) == f"{UP_TO_DATE}; corrected the task counts of 2 users"
    assert sql("SELECT task_count FROM users ORDER BY email") == [(1,), (0,)]
    assert release(config) == UP_TO_DATE


def test_the_release_applies_a_lower_session_max_days(
    alice: User, sql: Callable[..., Any], config: Config
) -> None:
    sql("UPDATE sessions SET created_at = now() - interval '5 days'")
    answer = release(replace(config, session_max_days=3))
    assert answer == f"{UP_TO_DATE}; shortened 1 sessions"
    assert_error(alice.get("/tasks"), 401, "auth_revoked")
