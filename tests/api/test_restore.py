"""A deleted task can be restored for 30 days."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tests.support.assertions import assert_error
from tests.support.users import User

NOBODYS = "01a20cbe-374b-71be-a182-29b72fded62e"


def restore(user: User, task: dict[str, Any]) -> Any:
    return user.post(f"/tasks/{task['id']}/restore")


def deleted(user: User, **fields: Any) -> dict[str, Any]:
    """Create a task, delete it, and return it."""
    task = user.task(**fields)
    assert user.delete(f"/tasks/{task['id']}").status_code == 204
    return task


def age(sql: Callable[..., Any], **age: int) -> None:
    sql("UPDATE deleted_tasks SET deleted_at = deleted_at - %s", timedelta(**age))


FIELDS: list[dict[str, Any]] = [
    {},
    {"title": " \N{ROCKET} ", "description": 'ä\n"b" \\', "tags": ["z", "a\U0010ffff"]},
    {"status": "completed", "priority": "low", "dueDate": "2026-12-01"},
    {"dueDate": "2999-12-31T23:59:59.999999Z"},
    {"dueDate": "1970-01-01T00:00:00.000001Z", "status": "in_progress"},
]


@pytest.mark.parametrize("fields", FIELDS, ids=ascii)
def test_a_restored_task_is_as_it_was_with_a_new_version(
    alice: User, fields: dict[str, Any]
) -> None:
    task = deleted(alice, **fields)
    response = restore(alice, task)
    assert response.status_code == 200, response.text
    restored = response.json
    assert restored == {
        **task, "updatedAt": restored["updatedAt"], "version": restored["version"]
    }  # fmt: skip
    assert restored["version"] > task["version"] + 1
    assert restored["updatedAt"] > task["updatedAt"]
    assert response.headers["ETag"] == f'"{restored["version"]}"'
    assert alice.get(f"/tasks/{task['id']}").json == restored


def test_a_restored_task_is_found_by_its_words(alice: User) -> None:
    task = deleted(alice, title="Quarterly report", description="figures")
    assert alice.titles("?q=figures") == []
    restore(alice, task)
    assert alice.titles("?q=quarterly+fig") == ["Quarterly report"]


def test_restoring_a_task_that_is_not_deleted_returns_it_unchanged(
    app_with: Callable[..., Flask],
) -> None:
    user = User(app_with(max_tasks_per_user=1), "limited@example.com")
    task = user.task()
    tag = user.get("/tasks").headers["ETag"]
    response = restore(user, task)
    assert (response.status_code, response.json) == (200, task)
    assert response.headers["ETag"] == f'"{task["version"]}"'
    assert user.get("/tasks").headers["ETag"] == tag


def test_a_task_can_be_restored_for_30_days(alice: User, sql: Callable[..., Any]) -> None:
    task = deleted(alice)
    age(sql, days=29, hours=23, minutes=59)
    assert restore(alice, task).status_code == 200
    alice.delete(f"/tasks/{task['id']}")
    age(sql, days=30, seconds=1)
    assert_error(restore(alice, task), 404, "task_not_found")


def test_an_id_that_is_not_the_users_is_404(alice: User, bob: User) -> None:
    for task_id in (deleted(bob)["id"], bob.task()["id"], NOBODYS, "x", "{" + NOBODYS + "}", "%00"):
        assert_error(alice.post(f"/tasks/{task_id}/restore"), 404, "task_not_found")


def test_an_id_in_capitals_names_the_same_task(alice: User) -> None:
    task = deleted(alice)
    assert alice.post(f"/tasks/{task['id'].upper()}/restore").json["id"] == task["id"]


def test_a_user_at_the_limit_restores_nothing(app_with: Callable[..., Flask]) -> None:
    user = User(app_with(max_tasks_per_user=2), "limited@example.com")
    first, second = deleted(user), user.task()
    user.task()
    tag = user.get("/tasks").headers["ETag"]
    assert_error(restore(user, first), 403, "task_limit_exceeded")
    assert_error(user.post(f"/tasks/{NOBODYS}/restore"), 404, "task_not_found")
    assert user.get("/tasks").headers["ETag"] == tag
    user.delete(f"/tasks/{second['id']}")
    assert restore(user, first).status_code == 200
    assert_error(user.post("/tasks", {"title": "x"}), 403, "task_limit_exceeded")


def test_a_restored_task_can_be_deleted_and_restored_again(alice: User) -> None:
    task = deleted(alice)
    for _ in range(3):
        assert restore(alice, task).status_code == 200
        assert alice.delete(f"/tasks/{task['id']}").status_code == 204
    assert alice.get("/tasks").json["data"] == []


def test_tasks_of_a_batch_and_of_an_operator_can_be_restored(
    alice: User, sql: Callable[..., Any]
) -> None:
    tasks = [alice.task(title=f"T{number}") for number in range(4)]
    alice.post("/tasks/batch", {"delete": [{"id": task["id"]} for task in tasks[:2]]})
    sql("DELETE FROM tasks")
    assert {restore(alice, task).json["title"] for task in tasks} == {"T0", "T1", "T2", "T3"}


def test_a_restore_refuses_a_body(alice: User) -> None:
    task = deleted(alice)
    path = f"/tasks/{task['id']}/restore"
    assert_error(alice.post(path, {"title": "x"}), 400, "validation_error", "title")
    assert_error(alice.post(f"{path}?x=1"), 400, "validation_error", "x")
    assert alice.post(path, {}).status_code == 200


def test_an_ended_session_restores_nothing(alice: User) -> None:
    task = deleted(alice)
    alice.post("/auth/logout")
    assert_error(restore(alice, task), 401, "auth_revoked")


def test_deleting_an_account_deletes_its_deleted_tasks(
    alice: User, sql: Callable[..., Any]
) -> None:
    deleted(alice)
    alice.task()
    alice.delete("/auth/me", json={"password": "correct horse battery"})
    assert sql("SELECT count(*) FROM deleted_tasks") == [(0,)]
