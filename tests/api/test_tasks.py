"""A task is created, read, changed and deleted by its owner only."""

from collections.abc import Callable

from flask import Flask

from tests.support.assertions import assert_error
from tests.support.users import User

UNKNOWN = "01890000-0000-7000-8000-000000000000"


def test_a_new_task_has_every_field_and_its_defaults(alice: User) -> None:
    response = alice.post("/tasks", {"title": "  Buy milk "})
    task = response.json
    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/v1/tasks/{task['id']}"
    assert response.headers["ETag"] == '"1"'
    assert task["createdAt"] == task["updatedAt"]
    assert task["createdAt"].endswith("+00:00")
    del task["createdAt"], task["updatedAt"]
    assert task == {
        "id": task["id"],
        "userId": alice.id,
        "title": "Buy milk",
        "description": None,
        "status": "pending",
        "priority": "medium",
        "tags": [],
        "dueDate": None,
        "completedAt": None,
        "version": 1,
    }
    assert task["id"][14] == "7"  # RFC 9562: the version


def test_ids_sort_by_creation_time(alice: User) -> None:
    ids = [alice.task()["id"] for _ in range(50)]
    assert ids == sorted(ids)


def test_a_task_keeps_the_values_of_its_creation(alice: User) -> None:
    fields = {
        "title": "Grüße an 北京 🚀",
        "description": "Zeile 1\nZeile 2 'quoted' \"double\" %s %(x)s \\",
        "status": "in_progress",
        "priority": "high",
        "tags": ["b", "a", "ä"],
        "dueDate": "2026-12-01",
    }
    task = alice.task(**fields)
    assert {name: task[name] for name in fields} == fields
    assert alice.get(f"/tasks/{task['id']}").json == task


def test_put_and_patch_keep_omitted_fields(alice: User) -> None:
    for method in ("PUT", "PATCH"):
        task = alice.task(description="Two litres", tags=["shop"], priority="high")
        response = alice.request(method, f"/tasks/{task['id']}", json={"title": "Buy oats"})
        assert response.status_code == 200
        changed = response.json
        assert changed["updatedAt"] > task["updatedAt"]
        assert changed["version"] > task["version"]
        assert response.headers["ETag"] == f'"{changed["version"]}"'
        kept = {**changed, "updatedAt": task["updatedAt"], "version": task["version"]}
        assert kept == {**task, "title": "Buy oats"}


def test_null_clears_a_nullable_field(alice: User) -> None:
    task = alice.task(description="Two litres", dueDate="2026-12-01")
    changed = alice.patch(f"/tasks/{task['id']}", {"description": None, "dueDate": None}).json
    assert (changed["description"], changed["dueDate"]) == (None, None)


def test_a_patch_may_be_sent_as_merge_patch_json(alice: User) -> None:
    task = alice.task()
    response = alice.request(
        "PATCH",
        f"/tasks/{task['id']}",
        data='{"title": "Buy oats"}',
        content_type="application/merge-patch+json; charset=utf-8",
    )
    assert response.json["title"] == "Buy oats"


def test_read_only_fields_are_ignored_when_a_task_is_sent_back(alice: User) -> None:
    task = alice.task(status="completed", dueDate="2026-12-01")
    sent = {**task, "id": UNKNOWN, "userId": UNKNOWN, "createdAt": "1999-01-01T00:00:00Z"}
    returned = alice.request("PUT", f"/tasks/{task['id']}", json=sent).json
    assert returned == {**task, "updatedAt": returned["updatedAt"], "version": 2}
    # A body of read-only fields changes nothing.
    unchanged = alice.patch(f"/tasks/{task['id']}", {"id": UNKNOWN, "createdAt": None})
    assert (unchanged.json, unchanged.headers["ETag"]) == (returned, '"2"')
    stale = alice.patch(f"/tasks/{task['id']}", {"id": UNKNOWN}, headers={"If-Match": '"1"'})
    assert_error(stale, 412, "precondition_failed")
    assert alice.post("/tasks", sent).json["id"] not in (task["id"], UNKNOWN)


def test_completed_at_is_set_on_completion_and_cleared_on_reopening(
    alice: User,
) -> None:
    task = alice.task()
    completed = alice.patch(f"/tasks/{task['id']}", {"status": "completed"}).json
    assert completed["completedAt"] == completed["updatedAt"]
    again = alice.patch(f"/tasks/{task['id']}", {"status": "completed", "title": "x"}).json
    assert again["completedAt"] == completed["completedAt"]
    assert alice.patch(f"/tasks/{task['id']}", {"title": "y"}).json["completedAt"]
    reopened = alice.patch(f"/tasks/{task['id']}", {"status": "pending"}).json
    assert reopened["completedAt"] is None
    assert alice.task(status="completed")["completedAt"] is not None


def test_a_due_date_is_returned_as_a_day_or_as_a_time_in_utc(alice: User) -> None:
    for sent, answered in (
        ("2026-12-01", "2026-12-01"),
        ("2026-12-01T10:00:00+02:00", "2026-12-01T08:00:00.000000+00:00"),
        ("2026-12-01t10:00:00.123456789z", "2026-12-01T10:00:00.123456+00:00"),
        ("1970-01-01", "1970-01-01"),
        ("2999-12-31", "2999-12-31"),
        ("2999-12-31T23:59:59.999999Z", "2999-12-31T23:59:59.999999+00:00"),
        ("1969-12-31T23:00:00-01:00", "1970-01-01T00:00:00.000000+00:00"),
    ):
        task = alice.task(dueDate=sent)
        assert task["dueDate"] == answered
        assert alice.patch(f"/tasks/{task['id']}", {"dueDate": sent}).json["dueDate"] == answered


def test_a_deleted_task_is_not_found(alice: User) -> None:
    task = alice.task()
    response = alice.delete(f"/tasks/{task['id']}")
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    assert_error(alice.delete(f"/tasks/{task['id']}"), 404, "task_not_found")
    assert_error(alice.get(f"/tasks/{task['id']}"), 404, "task_not_found")


def test_another_users_task_looks_like_a_missing_one(alice: User, bob: User) -> None:
    task = alice.task()
    for task_id in (task["id"], UNKNOWN, "not-a-uuid", f"{{{task['id']}}}", "%00"):
        path = f"/tasks/{task_id}"
        assert_error(bob.get(path), 404, "task_not_found")
        assert_error(bob.patch(path, {"title": "Mine"}), 404, "task_not_found")
        assert_error(bob.delete(path), 404, "task_not_found")
        assert_error(bob.delete(path, headers={"If-Match": '"1"'}), 404, "task_not_found")
    assert bob.titles() == []
    assert alice.get(f"/tasks/{task['id']}").json == task


def test_a_known_etag_is_answered_with_304_until_the_task_changes(alice: User) -> None:
    task = alice.task()
    path = f"/tasks/{task['id']}"
    tag = alice.get(path).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = alice.get(path, headers={"If-None-Match": known})
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == tag
    alice.patch(path, {"title": "Buy oats"})
    response = alice.get(path, headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert response.headers["ETag"] != tag


def test_if_match_refuses_to_change_another_version(alice: User) -> None:
    task = alice.task()
    path = f"/tasks/{task['id']}"
    for stale in ('"2"', '"other"', '"1x"', '"0", "9999999999999"', '""'):
        headers = {"If-Match": stale}
        response = alice.patch(path, {"title": "Lost"}, headers=headers)
        assert_error(response, 412, "precondition_failed")
        assert_error(alice.delete(path, headers=headers), 412, "precondition_failed")
    for version, current in enumerate(('"{}"', 'W/"{}"', '"x", "{}"', "*"), start=1):
        headers = {"If-Match": current.format(version)}
        assert alice.patch(path, {"title": "Kept"}, headers=headers).status_code == 200
    assert alice.delete(path, headers={"If-Match": '"5"'}).status_code == 204
    assert_error(alice.delete(path, headers={"If-Match": '"5"'}), 404, "task_not_found")
    assert_error(
        alice.patch(path, {"title": "x"}, headers={"If-Match": "*"}), 404, "task_not_found"
    )


def test_a_user_cannot_exceed_the_task_limit(app_with: Callable[..., Flask]) -> None:
    small = User(app_with(max_tasks_per_user=2), "small@example.com")
    first = small.task()
    small.task()
    assert_error(small.post("/tasks", {"title": "Third"}), 403, "task_limit_exceeded")
    small.delete(f"/tasks/{first['id']}")
    small.task()
    assert_error(small.post("/tasks", {"title": "Third"}), 403, "task_limit_exceeded")
    assert len(small.titles()) == 2
