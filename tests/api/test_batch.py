"""A batch writes all its items or none, and answers as single requests would."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from taskflow.tasks.schemas import PRIORITIES, STATUSES
from tests.support.assertions import assert_error
from tests.support.users import User

BATCH = "/tasks/batch"
KEY = {"Idempotency-Key": "7f0c"}
NOBODYS = "01a20cbe-374b-71be-a182-29b72fded62e"
READ_ONLY = {"id": NOBODYS, "userId": NOBODYS, "version": 9, "createdAt": 1, "completedAt": ""}


def everything(user: User) -> list[Any]:
    """Return the user's tasks and the ETag of their list."""
    response = user.get("/tasks?limit=100")
    return [response.json["data"], response.headers["ETag"]]


def test_a_batch_answers_in_the_order_that_was_sent(alice: User) -> None:
    first, second, third, fourth = (alice.task(title=f"T{n}") for n in range(4))
    body = {
        "create": [{"title": "B"}, {"title": "A", "status": "completed", "tags": ["x", "a"]}],
        "update": [{"id": second["id"], "title": "U2"}, {"id": first["id"].upper(), "title": "U1"}],
        "delete": [{"id": fourth["id"]}, {"id": third["id"].upper(), "version": third["version"]}],
    }
    response = alice.post(BATCH, body)
    assert response.status_code == 200, response.text
    written = response.json
    assert [task["title"] for task in written["created"]] == ["B", "A"]
    assert [task["id"] for task in written["updated"]] == [second["id"], first["id"]]
    assert written["deleted"] == [fourth["id"], third["id"]]
    assert written["created"][1]["completedAt"]
    for task in written["created"] + written["updated"]:
        assert alice.get(f"/tasks/{task['id']}").json == task
        assert task["version"] > 4
    assert sorted(alice.titles()) == ["A", "B", "U1", "U2"]
    # Tasks of one batch are listed in the order of its items, as tasks of single requests are.
    assert [t["title"] for t in alice.get("/tasks?sort=createdAt").json["data"]][2:] == ["B", "A"]


UPDATES: list[dict[str, Any]] = [
    {"title": " New "},
    {"description": None},
    {"description": "New words"},
    *({"status": status} for status in STATUSES),
    *({"priority": priority} for priority in PRIORITIES),
    {"tags": []},
    {"tags": [" b", "a", "\N{ROCKET}"]},
    {"dueDate": None},
    {"dueDate": "2027-05-04"},
    {"dueDate": "2027-05-04T03:02:01.123456+05:00"},
    {"title": "All", "description": "of", "status": "completed", "tags": ["it"], "dueDate": None},
]


@pytest.mark.parametrize("update", UPDATES, ids=map(str, UPDATES))
def test_an_update_in_a_batch_does_what_a_single_one_does(
    alice: User, update: dict[str, Any]
) -> None:
    fields = {"description": "Old", "tags": ["x"], "dueDate": "2026-12-01", "status": "completed"}
    alone, batched = alice.task(**fields), alice.task(**fields)
    single = alice.patch(f"/tasks/{alone['id']}", update).json
    [task] = alice.post(BATCH, {"update": [{**batched, **update}]}).json["updated"]
    varying = ("id", "createdAt", "updatedAt", "version")
    assert {k: task[k] for k in task if k not in varying} == {
        k: single[k] for k in single if k not in (*varying, "completedAt")
    } | {"completedAt": batched["completedAt"] if single["completedAt"] else None}
    for query in ("?q=old", "?q=new"):
        found = [found["id"] for found in alice.get(f"/tasks{query}").json["data"]]
        assert (alone["id"] in found) == (batched["id"] in found)


def test_creations_ignore_read_only_fields(alice: User) -> None:
    [task] = alice.post(BATCH, {"create": [{"title": "x", **READ_ONLY}]}).json["created"]
    assert task["id"] != NOBODYS
    assert (task["userId"], task["version"]) == (alice.id, 1)


@pytest.mark.parametrize("count", [1, 100])
def test_a_batch_may_have_1_to_100_items(alice: User, count: int) -> None:
    body = {"create": [{"title": f"T{n}"} for n in range(count)]}
    created = alice.post(BATCH, body).json["created"]
    assert [task["title"] for task in created] == [task["title"] for task in body["create"]]
    ids = [{"id": task["id"], "version": task["version"]} for task in created]
    assert alice.post(BATCH, {"delete": ids}).json["deleted"] == [item["id"] for item in ids]
    assert alice.titles() == []


ITEM = {"id": NOBODYS, "title": "x"}
INVALID: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, ["body"]),
    "empty lists": ({"create": [], "update": [], "delete": []}, ["body"]),
    "101 items": (
        {"create": [{"title": "x"}] * 99, "update": [ITEM], "delete": [{"id": NOBODYS}]},
        ["body"],
    ),
    "an unknown list": ({"create": [{"title": "x"}], "creates": []}, ["creates"]),
    "a list that is null": ({"create": None}, ["create"]),
    "a list that is an object": ({"delete": {"id": NOBODYS}}, ["delete"]),
    "an item that is a string": ({"delete": [NOBODYS]}, ["delete.0"]),
    "items that are null": ({"create": [None], "update": [None]}, ["create.0", "update.0"]),
    "an unknown field": ({"create": [{"title": "x", "color": "red"}]}, ["create.0.color"]),
    "an unknown field of a deletion": ({"delete": [ITEM]}, ["delete.0.title"]),
    "fields that break rules": (
        {
            "create": [{"title": "x"}, {"title": "", "tags": ["a", ""]}, {}],
            "update": [{**ITEM, "title": "x" * 201, "status": "done", "dueDate": "soon"}],
        },
        ["create.1.tags.1", "create.1.title", "create.2.title", "update.0.dueDate",
         "update.0.status", "update.0.title"],
    ),
    "an update without a field": (
        {"update": [{"id": NOBODYS, "version": 1}, {"id": NOBODYS[:-1] + "f", "userId": "x"}]},
        ["update.0", "update.1"],
    ),
    "no id": ({"update": [{"title": "x"}], "delete": [{}]}, ["delete.0.id", "update.0.id"]),
    "ids that are no strings": (
        {"update": [{**ITEM, "id": 5}, {**ITEM, "id": None}], "delete": [{"id": [NOBODYS]}]},
        ["delete.0.id", "update.0.id", "update.1.id"],
    ),
    "versions that are no whole numbers": (
        {
            "update": [{**ITEM, "version": "1"}, {**ITEM, "id": "b", "version": None}],
            "delete": [{"id": str(n), "version": v} for n, v in enumerate([True, 1.0, [1]])],
        },
        ["delete.0.version", "delete.1.version", "delete.2.version", "update.0.version",
         "update.1.version"],
    ),
    "an id twice": ({"update": [ITEM, {**ITEM, "title": "y"}]}, ["update.1.id"]),
    "ids in two lists and in two cases, and a title that breaks a rule": (
        {
            "update": [{**ITEM, "title": ""}, ITEM],
            "delete": [{"id": NOBODYS.upper()}, {"id": "x"}, {"id": "X"}],
        },
        ["delete.0.id", "delete.2.id", "update.0.title", "update.1.id"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "fields"), INVALID.values(), ids=INVALID)
def test_an_invalid_batch_names_all_its_faults(
    alice: User, body: dict[str, Any], fields: list[str]
) -> None:
    before = everything(alice)
    response = alice.post(BATCH, body)
    named = [detail["field"] for detail in response.json["error"]["details"]]
    assert_error(response, 400, "validation_error", *named)
    assert sorted(named) == fields
    assert everything(alice) == before


FIELDS: list[dict[str, Any]] = [
    {"title": " "},
    {"title": None},
    {"title": "x" * 201},
    {"title": "\0"},
    {"description": "x" * 2001},
    {"description": "\ud800"},
    {"status": None},
    {"priority": "urgent"},
    {"tags": ["a"] * 2},
    {"tags": [str(n) for n in range(11)]},
    {"tags": ["a", "x" * 51]},
    {"dueDate": "1969-12-31"},
    {"dueDate": "3000-01-01"},
    {"dueDate": "2026-02-30"},
    {"owner": "me"},
]


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: ascii(fields)[:40])
def test_a_field_is_refused_as_in_a_single_request(alice: User, fields: dict[str, Any]) -> None:
    task = alice.task()
    single = alice.patch(f"/tasks/{task['id']}", fields).json["error"]["details"]
    for name, item in (("create", {"title": "x"}), ("update", {"id": task["id"]})):
        response = alice.post(BATCH, {name: [{**item, **fields}]})
        named = [{**detail, "field": f"{name}.0.{detail['field']}"} for detail in single]
        assert_error(response, 400, "validation_error", *(detail["field"] for detail in named))
        assert response.json["error"]["details"] == named


def test_missing_tasks_are_named_before_other_versions(alice: User, bob: User) -> None:
    task, other = alice.task(), bob.task()
    before = everything(alice)
    body = {
        "create": [{"title": "x"}],
        "update": [
            {"id": task["id"], "version": 7, "title": "y"},
            {"id": "x" * 5000, "title": "y"},
            {"id": "\0", "title": "y"},
        ],
        "delete": [{"id": NOBODYS}, {"id": other["id"], "version": 2}, {"id": "{" + NOBODYS + "}"}],
    }
    fields = ["update.1.id", "update.2.id", "delete.0.id", "delete.1.id", "delete.2.id"]
    assert_error(alice.post(BATCH, body), 404, "task_not_found", *fields)
    assert everything(alice) == before
    assert bob.titles() == ["Buy milk"]


def test_all_of_a_hundred_missing_tasks_are_named(alice: User) -> None:
    body = {"delete": [{"id": str(number)} for number in range(100)]}
    fields = [f"delete.{number}.id" for number in range(100)]
    assert_error(alice.post(BATCH, body), 404, "task_not_found", *fields)


def test_other_versions_are_named_before_the_limit(app_with: Callable[..., Flask]) -> None:
    user = User(app_with(max_tasks_per_user=2), "limited@example.com")
    first, second = user.task(), user.task()
    before = everything(user)
    body = {
        "create": [{"title": "x"}, {"title": "y"}],
        "update": [{"id": first["id"], "version": 2**63, "title": "y"}],
        "delete": [{"id": second["id"], "version": 1}],
    }
    fields = ["update.0.version", "delete.0.version"]
    assert_error(user.post(BATCH, body), 412, "precondition_failed", *fields)
    body["update"], body["delete"] = [], [{"id": second["id"], "version": second["version"]}]
    assert_error(user.post(BATCH, body), 403, "task_limit_exceeded", "create.1")
    assert everything(user) == before


@pytest.mark.parametrize("version", [0, -1, 2, 2**31, -(2**31) - 1, 10**30])
def test_a_version_that_no_task_has_does_not_match(alice: User, version: int) -> None:
    task = alice.task()
    body = {"update": [{"id": task["id"], "version": version, "title": "x"}]}
    assert_error(alice.post(BATCH, body), 412, "precondition_failed", "update.0.version")


def test_deletions_make_room_in_the_same_batch(app_with: Callable[..., Flask]) -> None:
    user = User(app_with(max_tasks_per_user=2), "limited@example.com")
    tasks = [user.task(), user.task()]
    body = {"create": [{"title": "x"}] * 2, "delete": [{"id": task["id"]} for task in tasks]}
    assert user.post(BATCH, body).status_code == 200
    assert user.titles() == ["x", "x"]
    assert_error(user.post("/tasks", {"title": "y"}), 403, "task_limit_exceeded")


def test_a_user_over_a_lowered_limit_may_update_and_delete(
    alice: User, app_with: Callable[..., Flask]
) -> None:
    tasks = [alice.task() for _ in range(4)]
    client = app_with(max_tasks_per_user=2).test_client(use_cookies=False)

    def post(body: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {alice.token}"}
        return client.post(f"/api/v1{BATCH}", json=body, headers=headers)

    update = [{"id": tasks[0]["id"], "title": "New"}]
    assert post({"update": update}).status_code == 200
    delete = [{"id": tasks[1]["id"]}]
    assert_error(post({"delete": delete, "create": [{"title": "x"}]}), 403,
                 "task_limit_exceeded", "create.0")  # fmt: skip
    assert post({"update": update, "delete": delete}).status_code == 200
    assert len(alice.titles()) == 3


def test_a_repeat_answers_with_the_tasks_as_they_now_are(alice: User) -> None:
    old, gone = alice.task(), alice.task()
    body = {
        "create": [{"title": "A"}, {"title": "B"}],
        "update": [{"id": old["id"], "version": old["version"], "title": "C"}],
        "delete": [{"id": gone["id"], "version": gone["version"]}],
    }
    first = alice.post(BATCH, body, headers=KEY)
    assert "Idempotency-Replayed" not in first.headers
    changed = alice.patch(f"/tasks/{first.json['created'][1]['id']}", {"title": "B2"}).json
    before = everything(alice)
    again = alice.post(BATCH, body, headers=KEY)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert again.json == {**first.json, "created": [first.json["created"][0], changed]}
    assert everything(alice) == before


@pytest.mark.parametrize("which", ["created", "updated"])
def test_a_repeat_after_a_deletion_is_404(alice: User, which: str) -> None:
    body = {"create": [{"title": "A"}], "update": [{"id": alice.task()["id"], "title": "C"}]}
    written = alice.post(BATCH, body, headers=KEY).json
    alice.delete(f"/tasks/{written[which][0]['id']}")
    before = everything(alice)
    assert alice.post(BATCH, body, headers=KEY).status_code == 404
    assert everything(alice) == before


def test_one_key_is_one_request_whichever_route(alice: User) -> None:
    body = {"create": [{"title": "A"}]}
    alice.post(BATCH, body, headers=KEY)
    other = alice.post(BATCH, {"create": [{"title": "B"}]}, headers=KEY)
    assert_error(other, 422, "idempotency_key_reused")
    single = alice.post("/tasks", {"title": "A"}, headers=KEY)
    assert_error(single, 422, "idempotency_key_reused")
    second = {"Idempotency-Key": "second"}
    alice.post("/tasks", {"title": "C"}, headers=second)
    assert_error(alice.post(BATCH, body, headers=second), 422, "idempotency_key_reused")
    assert sorted(alice.titles()) == ["A", "C"]


def test_a_refused_batch_does_not_use_up_its_key(alice: User) -> None:
    task = alice.task()
    body = {"create": [{"title": "A"}], "delete": [{"id": task["id"], "version": 2}]}
    assert alice.post(BATCH, body, headers=KEY).status_code == 412
    alice.patch(f"/tasks/{task['id']}", {"title": "New"})
    written = alice.post(BATCH, body, headers=KEY)
    assert (written.status_code, written.headers.get("Idempotency-Replayed")) == (200, None)
    assert alice.titles() == ["A"]


def test_a_key_of_a_batch_can_be_used_again_after_a_day(
    alice: User, sql: Callable[..., Any]
) -> None:
    body = {"create": [{"title": "A"}]}
    alice.post(BATCH, body, headers=KEY)
    sql("UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second'")
    again = alice.post(BATCH, body, headers=KEY)
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (200, None)
    assert alice.titles() == ["A", "A"]


def test_an_ended_session_writes_and_replays_nothing(alice: User, sql: Callable[..., Any]) -> None:
    body = {"create": [{"title": "A"}]}
    alice.post(BATCH, body, headers=KEY)
    alice.post("/auth/logout")
    for headers in (KEY, {}, {"Idempotency-Key": "second"}):
        assert_error(alice.post(BATCH, body, headers=headers), 401, "auth_revoked")
    missing = {"delete": [{"id": "x"}]}
    assert_error(alice.post(BATCH, missing), 401, "auth_revoked")
    assert sql("SELECT count(*) FROM tasks") == [(1,)]


@pytest.mark.parametrize("path", ["/tasks/batch", "/tasks/changes", "/tasks/summary"])
def test_other_methods_are_not_allowed(alice: User, path: str) -> None:
    allowed = "POST" if path == BATCH else "GET"
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        if method != allowed:
            response = alice.request(method, path)
            assert_error(response, 405, "method_not_allowed")
            assert allowed in response.headers["Allow"]
            assert method not in response.headers["Allow"]


def test_the_name_of_a_route_is_not_a_task_id(alice: User) -> None:
    for name in ("batches", "Batch", "changes2"):
        assert_error(alice.get(f"/tasks/{name}"), 404, "task_not_found")
    for name in ("batch", "changes", "summary"):
        assert alice.post(f"/tasks/{name}/restore").status_code == 404


def test_a_batch_counts_as_one_request(app_with: Callable[..., Flask]) -> None:
    user = User(app_with(rate_limit="100/minute"), "limited@example.com")
    body = {"create": [{"title": "x"}] * 50}
    left = [int(user.post(BATCH, body).headers["X-RateLimit-Remaining"]) for _ in range(2)]
    assert left[0] - left[1] == 1
