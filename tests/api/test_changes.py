"""The feed of changes gives every client exactly the tasks that exist."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from taskflow.commands.purge import purge
from taskflow.config import Config
from tests.support.assertions import assert_error
from tests.support.mirrors import Mirror
from tests.support.users import User

CHANGES = "/tasks/changes"


def mirror_of(user: User) -> Mirror:
    """Return an empty copy of the tasks of a user."""

    def send(method: str, path: str) -> tuple[int, Any]:
        response = user.request(method, path)
        return response.status_code, response.json

    return Mirror(send)


def tasks_of(user: User) -> dict[str, Any]:
    return {task["id"]: task for task in user.get("/tasks?limit=100").json["data"]}


def token_of(user: User) -> str:
    """Return the token of a client that has seen everything up to now."""
    return user.get(f"{CHANGES}?limit=500").json["nextSince"]


def age_deletions(sql: Callable[..., Any], **age: int) -> None:
    sql("UPDATE deleted_tasks SET deleted_at = deleted_at - %s", timedelta(**age))


def test_a_user_without_tasks_has_an_empty_page(alice: User) -> None:
    page = alice.get(CHANGES).json
    assert page == {"changed": [], "deleted": [], "nextSince": page["nextSince"], "hasMore": False}
    assert alice.get(f"{CHANGES}?since={page['nextSince']}").json == page


def test_a_first_sync_lists_every_task_in_order_of_change(alice: User) -> None:
    tasks = [alice.task(title=f"T{number}") for number in range(4)]
    alice.delete(f"/tasks/{tasks[3]['id']}")
    first = alice.patch(f"/tasks/{tasks[0]['id']}", {"title": "New"}).json
    page = alice.get(CHANGES).json
    assert page["changed"] == [tasks[1], tasks[2], first]
    assert (page["deleted"], page["hasMore"]) == ([], False)


def test_a_token_leads_to_the_changes_since_its_page(alice: User) -> None:
    kept, gone = alice.task(), alice.task()
    token = token_of(alice)
    changed = alice.patch(f"/tasks/{kept['id']}", {"title": "New"}).json
    alice.delete(f"/tasks/{gone['id']}")
    made = alice.task()
    page = alice.get(f"{CHANGES}?since={token}").json
    assert (page["changed"], page["deleted"]) == ([changed, made], [gone["id"]])
    again = alice.get(f"{CHANGES}?since={page['nextSince']}").json
    assert (again["changed"], again["deleted"], again["hasMore"]) == ([], [], False)


def test_a_task_that_was_changed_and_deleted_is_listed_once(alice: User) -> None:
    task = alice.task()
    token = token_of(alice)
    for title in ("A", "B"):
        alice.patch(f"/tasks/{task['id']}", {"title": title})
    page = alice.get(f"{CHANGES}?since={token}").json
    assert [changed["title"] for changed in page["changed"]] == ["B"]
    alice.delete(f"/tasks/{task['id']}")
    page = alice.get(f"{CHANGES}?since={token}").json
    assert (page["changed"], page["deleted"]) == ([], [task["id"]])
    restored = alice.post(f"/tasks/{task['id']}/restore").json
    page = alice.get(f"{CHANGES}?since={token}").json
    assert (page["changed"], page["deleted"]) == ([restored], [])


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 500])
def test_a_limit_counts_tasks_and_deletions_together(alice: User, limit: int) -> None:
    mirror = mirror_of(alice)
    tasks = [alice.task(title=f"T{number}") for number in range(6)]
    mirror.catch_up(limit)
    body = {
        "create": [{"title": "A"}, {"title": "B"}],
        "update": [{"id": task["id"], "title": "C"} for task in tasks[:2]],
        "delete": [{"id": task["id"]} for task in tasks[2:4]],
    }
    assert alice.post("/tasks/batch", body).status_code == 200
    assert mirror.apply_page(limit) == (limit < 6)
    mirror.catch_up(limit)
    assert mirror.tasks == tasks_of(alice)


def test_a_last_page_that_is_exactly_full_has_no_more(alice: User) -> None:
    for _ in range(2):
        alice.task()
    assert alice.get(f"{CHANGES}?limit=2").json["hasMore"] is False


def test_a_sync_converges_while_others_write(alice: User) -> None:
    rng = random.Random(7)
    ids = [alice.task(title=f"T{number}")["id"] for number in range(20)]
    gone: list[str] = []
    mirrors = [mirror_of(alice) for _ in range(4)]
    for step in range(60):
        mirrors[step % 4].apply_page(rng.randint(1, 6))
        drawn = rng.choice(ids)
        if step % 3 == 0:
            alice.delete(f"/tasks/{drawn}")
            gone.append(ids.pop(ids.index(drawn)))
        elif step % 3 == 1:
            alice.patch(f"/tasks/{drawn}", {"title": f"Step {step}"})
        elif gone and rng.random() < 0.5:
            alice.post(f"/tasks/{gone[-1]}/restore")
            ids.append(gone.pop())
        else:
            ids.append(alice.task()["id"])
    for mirror in mirrors:
        mirror.catch_up(3)
        assert mirror.tasks == tasks_of(alice)


@pytest.mark.parametrize("limit", ["0", "501", "-1", "1.5", "x", "", "+1", "1_0", "%D9%A1"])
def test_a_limit_is_a_whole_number_from_1_to_500(alice: User, limit: str) -> None:
    assert_error(alice.get(f"{CHANGES}?limit={limit}"), 400, "validation_error", "limit")


def test_unknown_and_repeated_parameters_are_refused(alice: User) -> None:
    for query, name in (("cursor=x", "cursor"), ("since=a&since=b", "since"), ("sort=x", "sort")):
        assert_error(alice.get(f"{CHANGES}?{query}"), 400, "validation_error", name)


def test_a_damaged_or_foreign_token_is_refused(
    alice: User, bob: User, app_with: Callable[..., Flask]
) -> None:
    for _ in range(2):
        alice.task()
    token = token_of(alice)
    cursor = alice.get("/tasks?limit=1").json["nextCursor"]
    damaged = [token[:-1], token[1:], token + "A", token.swapcase(), "A" * 5000]
    for since in (*damaged, token_of(bob), cursor, "", "x", "%00", "%F0%9F%9A%80", "null"):
        for limit in ("", "&limit=1"):
            response = alice.get(f"{CHANGES}?since={since}{limit}", headers={"If-None-Match": "*"})
            assert_error(response, 410, "changes_expired")
    elsewhere = app_with(
        jwt_secret="another-secret-of-more-than-32-bytes", jwt_secret_previous=None
    )
    body = {"email": alice.email, "password": "correct horse battery"}
    other = elsewhere.test_client()
    access = other.post("/api/v1/auth/login", json=body).json["accessToken"]
    headers = {"Authorization": f"Bearer {access}"}
    response = other.get(f"/api/v1{CHANGES}?since={token}", headers=headers)
    assert_error(response, 410, "changes_expired")
    assert_error(alice.get(f"/tasks?cursor={token}"), 400, "validation_error", "cursor")


def test_a_token_expires_when_a_later_deletion_is_30_days_old(
    alice: User, sql: Callable[..., Any]
) -> None:
    kept, gone = alice.task(), alice.task()
    before = token_of(alice)
    page_before = alice.get(f"{CHANGES}?limit=1").json["nextSince"]
    alice.delete(f"/tasks/{gone['id']}")
    after = token_of(alice)
    age_deletions(sql, days=29, hours=23, minutes=59)
    assert alice.get(f"{CHANGES}?since={before}").json["deleted"] == [gone["id"]]
    age_deletions(sql, minutes=2)
    for token in (before, page_before):
        assert_error(alice.get(f"{CHANGES}?since={token}"), 410, "changes_expired")
    assert alice.get(f"{CHANGES}?since={after}").json["deleted"] == []
    for limit in (1, 100):  # a first sync never expires
        mirror = mirror_of(alice)
        mirror.catch_up(limit)
        assert list(mirror.tasks) == [kept["id"]]


def test_a_token_from_before_purged_deletions_has_expired(
    alice: User, sql: Callable[..., Any]
) -> None:
    tasks = [alice.task() for _ in range(3)]
    before = token_of(alice)
    alice.delete(f"/tasks/{tasks[0]['id']}")
    sql("UPDATE users SET purged_number = (SELECT max(version) FROM deleted_tasks)")
    sql("DELETE FROM deleted_tasks")
    assert_error(alice.get(f"{CHANGES}?since={before}"), 410, "changes_expired")
    mirror = mirror_of(alice)
    mirror.catch_up(1)
    assert mirror.tasks == tasks_of(alice)
    alice.delete(f"/tasks/{tasks[1]['id']}")
    mirror.catch_up()
    assert mirror.tasks == tasks_of(alice)


@pytest.mark.parametrize("is_purged", [False, True], ids=["kept", "purged"])
def test_a_token_in_the_middle_of_a_batch_of_deletions_expires(
    alice: User, sql: Callable[..., Any], config: Config, is_purged: bool
) -> None:
    """All deletions of a batch have the same version."""
    tasks = [alice.task() for _ in range(3)]
    before = token_of(alice)
    alice.post("/tasks/batch", {"delete": [{"id": task["id"]} for task in tasks]})
    token = alice.get(f"{CHANGES}?since={before}&limit=1").json["nextSince"]
    whole = token_of(alice)
    age_deletions(sql, days=31)
    if is_purged:
        purge(config)
    assert_error(alice.get(f"{CHANGES}?since={token}"), 410, "changes_expired")
    assert alice.get(f"{CHANGES}?since={whole}").json["deleted"] == []


def test_a_task_that_is_moved_back_and_forth_is_in_one_feed(
    alice: User, sql: Callable[..., Any], app: Flask
) -> None:
    bob, task = User(app, "bob@example.com"), alice.task()
    mirrors = {user: mirror_of(user) for user in (alice, bob)}
    for owner in (bob, alice, bob, alice):
        sql("UPDATE tasks SET user_id = %s", owner.id)
        for user, mirror in mirrors.items():
            mirror.catch_up()
            assert list(mirror.tasks) == ([task["id"]] if user is owner else [])


def test_a_token_of_an_undone_history_is_refused(alice: User, sql: Callable[..., Any]) -> None:
    """Restore a backup into the tables, and go on writing."""
    alice.task()
    [(backup,)] = sql("SELECT change_number FROM users")
    for _ in range(2):
        alice.task()
    token, paging = token_of(alice), alice.get(f"{CHANGES}?limit=2").json["nextSince"]
    sql("UPDATE users SET change_number = %s", backup)
    for since in (token, paging):
        assert_error(alice.get(f"{CHANGES}?since={since}"), 410, "changes_expired")


def test_a_token_of_a_database_that_was_refilled_is_refused(
    alice: User, sql: Callable[..., Any]
) -> None:
    alice.task()
    token = token_of(alice)
    assert alice.get(f"{CHANGES}?since={token}").status_code == 200
    sql("CREATE TABLE backup AS SELECT * FROM users")
    sessions = sql("SELECT id, expires_at FROM sessions")
    sql("TRUNCATE users CASCADE")
    sql("INSERT INTO users SELECT * FROM backup")
    for session_id, expires_at in sessions:
        sql("INSERT INTO sessions (id, user_id, expires_at) SELECT %s, id, %s FROM users",
            session_id, expires_at)  # fmt: skip
    sql("DROP TABLE backup")
    for _ in range(3):
        alice.task()
    assert_error(alice.get(f"{CHANGES}?since={token}"), 410, "changes_expired")


def test_unchanged_answers_are_304(alice: User) -> None:
    task = alice.task()
    for query in ("", "?limit=1", f"?since={token_of(alice)}"):
        fresh = alice.get(f"{CHANGES}{query}")
        tag = fresh.headers["ETag"]
        assert tag.startswith('W/"')
        for value in (tag, tag.removeprefix("W/"), f'"x", {tag}', "*"):
            response = alice.get(f"{CHANGES}{query}", headers={"If-None-Match": value})
            assert (response.status_code, response.data) == (304, b"")
            assert response.headers["ETag"] == tag
        changed = alice.patch(f"/tasks/{task['id']}", {"title": "New"}).json
        response = alice.get(f"{CHANGES}{query}", headers={"If-None-Match": tag})
        assert (response.status_code, response.json["changed"]) == (200, [changed])


def test_an_operators_sql_is_in_the_feed(alice: User, sql: Callable[..., Any]) -> None:
    tasks = [alice.task(title=f"T{number}") for number in range(4)]
    mirror = mirror_of(alice)
    mirror.catch_up()
    sql("UPDATE tasks SET status = 'completed' WHERE title = 'T1'")
    sql("DELETE FROM tasks WHERE title IN ('T2', 'T3')")
    sql("INSERT INTO tasks (user_id, title) VALUES (%s, 'SQL')", alice.id)
    sql("INSERT INTO tasks (user_id, id, title) VALUES (%s, %s, 'Back')", alice.id, tasks[2]["id"])
    mirror.catch_up(2)
    assert mirror.tasks == tasks_of(alice)
    assert len(mirror.tasks) == 4
    alice.delete(f"/tasks/{tasks[2]['id']}")
    mirror.catch_up(2)
    assert mirror.tasks == tasks_of(alice)
    assert sql("SELECT task_count FROM users") == [(3,)]
    sql("TRUNCATE tasks")
    mirror.catch_up()
    assert mirror.tasks == tasks_of(alice) == {}


def test_an_ended_session_reads_no_changes(alice: User) -> None:
    token = token_of(alice)
    alice.post("/auth/logout")
    for query in ("", f"?since={token}"):
        assert_error(alice.get(f"{CHANGES}{query}"), 401, "auth_revoked")
