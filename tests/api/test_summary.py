"""The summary counts a user's tasks."""

import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask

from tests.support.assertions import assert_error
from tests.support.users import User

SUMMARY = "/tasks/summary"


def test_a_user_without_tasks_has_a_summary_of_zeros(alice: User) -> None:
    assert alice.get(SUMMARY).json == {
        "total": 0,
        "limit": 200,
        "byStatus": {"pending": 0, "in_progress": 0, "completed": 0},
        "byPriority": {"low": 0, "medium": 0, "high": 0},
        "overdue": 0,
        "tags": [],
    }


def test_a_summary_counts_only_the_users_own_tasks(alice: User, bob: User) -> None:
    bob.task(status="completed", tags=["b"])
    for status, priority, tags in (
        ("pending", "low", ["a"]),
        ("in_progress", "low", ["b", "a"]),
        ("completed", "high", ["B", "\N{ROCKET}", "é"]),
        ("completed", "medium", ["z", "\uffee"]),
    ):
        alice.task(status=status, priority=priority, tags=tags)
    summary = alice.get(SUMMARY).json
    assert summary["total"] == 4
    assert summary["byStatus"] == {"pending": 1, "in_progress": 1, "completed": 2}
    assert summary["byPriority"] == {"low": 2, "medium": 1, "high": 1}
    # By count, then by code point.
    tags = [("a", 2), ("B", 1), ("b", 1), ("z", 1), ("é", 1), ("\uffee", 1), ("\N{ROCKET}", 1)]
    assert [(item["tag"], item["count"]) for item in summary["tags"]] == tags


def test_equivalent_tags_count_as_one(alice: User) -> None:
    for form in ("NFC", "NFD"):
        alice.task(tags=[unicodedata.normalize(form, "café")])
    assert alice.get(SUMMARY).json["tags"] == [{"tag": "café", "count": 2}]


def test_a_task_is_overdue_after_its_due_date_until_it_is_completed(alice: User) -> None:
    now = datetime.now(UTC)
    for due in (
        None,
        (now - timedelta(seconds=1)).isoformat(),
        (now + timedelta(hours=1)).isoformat(),
        (now - timedelta(days=1)).date().isoformat(),
        now.date().isoformat(),  # a day ends at midnight in UTC
    ):
        alice.task(dueDate=due)
        alice.task(dueDate=due, status="completed")
    alice.task(dueDate=(now - timedelta(seconds=1)).isoformat(), status="in_progress")
    late = datetime.now(UTC).date() != now.date()
    assert alice.get(SUMMARY).json["overdue"] == 3 + late


def test_a_summary_shows_the_task_limit_of_the_service(
    alice: User, app_with: Callable[..., Flask]
) -> None:
    client = app_with(max_tasks_per_user=7).test_client(use_cookies=False)
    tag = alice.get(SUMMARY).headers["ETag"]
    headers = {"Authorization": f"Bearer {alice.token}", "If-None-Match": tag}
    response = client.get(f"/api/v1{SUMMARY}", headers=headers)
    assert (response.status_code, response.json["limit"]) == (200, 7)


def test_an_unchanged_summary_is_304(alice: User) -> None:
    task = alice.task()
    tag = alice.get(SUMMARY).headers["ETag"]
    assert tag.startswith('W/"')
    for value in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
        response = alice.get(SUMMARY, headers={"If-None-Match": value})
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == tag
    alice.patch(f"/tasks/{task['id']}", {"status": "completed"})
    response = alice.get(SUMMARY, headers={"If-None-Match": tag})
    assert (response.status_code, response.json["byStatus"]["completed"]) == (200, 1)


def test_the_etag_of_a_summary_changes_when_a_task_falls_due(
    alice: User, sql: Callable[..., Any]
) -> None:
    alice.task(dueDate=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    tag = alice.get(SUMMARY).headers["ETag"]
    sql("ALTER TABLE tasks DISABLE TRIGGER USER")
    try:  # the change number stays
        sql("UPDATE tasks SET due_at = due_at - interval '2 hours'")
    finally:
        sql("ALTER TABLE tasks ENABLE TRIGGER USER")
    response = alice.get(SUMMARY, headers={"If-None-Match": tag})
    assert (response.status_code, response.json["overdue"]) == (200, 1)


def test_a_summary_refuses_parameters(alice: User) -> None:
    assert_error(alice.get(f"{SUMMARY}?limit=1"), 400, "validation_error", "limit")


def test_an_ended_session_reads_no_summary(alice: User) -> None:
    alice.post("/auth/logout")
    assert_error(alice.get(SUMMARY), 401, "auth_revoked")
