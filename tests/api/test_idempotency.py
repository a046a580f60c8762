"""For a day, repeating a creation with the same key creates nothing new."""

from collections.abc import Callable
from typing import Any

from flask import Flask

from tests.support.assertions import assert_error
from tests.support.threads import at_once
from tests.support.users import User

KEY = {"Idempotency-Key": "7f0c"}


def test_a_repeat_returns_the_task_in_its_current_state(alice: User) -> None:
    first = alice.post("/tasks", {"title": "Buy milk", "tags": ["a"]}, headers=KEY)
    assert "Idempotency-Replayed" not in first.headers
    changed = alice.patch(f"/tasks/{first.json['id']}", {"status": "completed"})
    # The same JSON value with another spelling.
    body = b'{ "tags": ["\\u0061"],\n "title": "Buy milk" }'
    again = alice.request("POST", "/tasks", data=body, content_type="application/json", headers=KEY)
    assert (again.status_code, again.json) == (201, changed.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    for name in ("ETag", "Location"):
        assert again.headers[name] == (changed if name == "ETag" else first).headers[name]
    assert len(alice.titles()) == 1


def test_a_repeat_with_a_different_body_is_refused(alice: User) -> None:
    alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    for body in ({"title": "Buy oats"}, {"title": " Buy milk"}, {"title": "Buy milk", "tags": []}):
        assert_error(alice.post("/tasks", body, headers=KEY), 422, "idempotency_key_reused")
    assert len(alice.titles()) == 1


def test_a_key_belongs_to_one_user(alice: User, bob: User) -> None:
    first = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).json
    second = bob.post("/tasks", {"title": "Buy milk"}, headers=KEY).json
    assert first["id"] != second["id"]


def test_a_repeat_after_a_deletion_creates_nothing(alice: User) -> None:
    task = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).json
    alice.delete(f"/tasks/{task['id']}")
    response = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert_error(response, 404, "task_not_found")
    assert alice.titles() == []


def test_a_refused_request_does_not_use_up_its_key(app_with: Callable[..., Flask]) -> None:
    user = User(app_with(max_tasks_per_user=1), "limited@example.com")
    assert_error(user.post("/tasks", {"title": ""}, headers=KEY), 400, "validation_error", "title")
    held = user.task()
    refused = user.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert_error(refused, 403, "task_limit_exceeded")
    user.delete(f"/tasks/{held['id']}")
    made = user.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert made.status_code == 201
    # A repeat succeeds even at the limit.
    again = user.post("/tasks", {"title": "Buy milk"}, headers=KEY)
    assert (again.status_code, again.json) == (201, made.json)


def test_a_key_can_be_used_again_after_a_day(alice: User, sql: Callable[..., Any]) -> None:
    first = alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).json
    sql("UPDATE idempotency_keys SET created_at = now() - interval '23 hours 59 minutes'")
    assert alice.post("/tasks", {"title": "Buy milk"}, headers=KEY).json == first
    sql("UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second'")
    second = alice.post("/tasks", {"title": "Buy oats"}, headers=KEY)
    assert second.status_code == 201
    assert second.json["id"] != first["id"]
    third = alice.post("/tasks", {"title": "Buy oats"}, headers=KEY)
    assert third.headers["Idempotency-Replayed"] == "true"


def test_requests_without_a_key_each_create_a_task(alice: User) -> None:
    alice.task()
    alice.task()
    assert len(alice.titles()) == 2


def test_concurrent_repeats_of_an_expired_key_create_one_task(
    alice: User, sql: Callable[..., Any]
) -> None:
    for _ in range(5):
        alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)
        sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
        repeats = [lambda: alice.post("/tasks", {"title": "Buy milk"}, headers=KEY)] * 6
        answers = at_once(repeats)
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json["id"] for answer in answers}) == 1
        sql("DELETE FROM idempotency_keys")
