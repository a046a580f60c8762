"""Limits, versions, keys and sessions stay exact under concurrent requests."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.sessions import (
    AUTH,
    CREDENTIALS,
    new_token,
    refresh_token_of,
    refresh_with,
    register,
    token_id_of,
)
from tests.support.threads import at_once
from tests.support.users import User

THREADS = 10


def statuses(responses: Sequence[TestResponse]) -> Counter[int]:
    return Counter(response.status_code for response in responses)


def test_the_task_limit_holds_under_concurrency(app_with: Callable[..., Flask]) -> None:
    user = User(app_with(max_tasks_per_user=3), "limited@example.com")
    for _ in range(3):
        answers = at_once([lambda: user.post("/tasks", {"title": "x"})] * THREADS)
        assert statuses(answers) == {201: 3, 403: THREADS - 3}
        tasks = user.get("/tasks").json["data"]
        assert len(tasks) == 3
        deletions = at_once(
            [lambda t=task: user.delete(f"/tasks/{t['id']}") for task in tasks for _ in range(3)]
        )
        assert statuses(deletions) == {204: 3, 404: 6}


def test_if_match_lets_one_of_many_concurrent_updates_win(alice: User) -> None:
    task = alice.task()
    path = f"/tasks/{task['id']}"
    for _ in range(5):
        tag = alice.get(path).headers["ETag"]
        answers = at_once(
            [
                lambda n=n: alice.patch(path, {"title": f"T{n}"}, headers={"If-Match": tag})
                for n in range(THREADS)
            ]
        )
        assert statuses(answers) == {200: 1, 412: THREADS - 1}
        [winner] = [answer.json for answer in answers if answer.status_code == 200]
        assert alice.get(path).json == winner


def test_updates_of_different_fields_do_not_undo_each_other(alice: User) -> None:
    task = alice.task()
    path = f"/tasks/{task['id']}"
    changes = {"title": "New", "description": "New", "priority": "high", "tags": ["new"]}
    answers = at_once([lambda c=c: alice.patch(path, dict([c])) for c in changes.items()])
    assert statuses(answers) == {200: 4}
    after = alice.get(path)
    assert {name: after.json[name] for name in changes} == changes
    assert after.headers["ETag"] == '"5"'


def test_concurrent_creations_with_one_key_create_one_task(alice: User) -> None:
    for number in range(5):
        headers = {"Idempotency-Key": f"key-{number}"}
        body = {"title": f"Task {number}"}
        answers = at_once([lambda: alice.post("/tasks", body, headers=headers)] * THREADS)
        assert statuses(answers) == {201: THREADS}
        assert len({answer.json["id"] for answer in answers}) == 1
        replayed = [answer.headers.get("Idempotency-Replayed") for answer in answers]
        assert Counter(replayed) == {None: 1, "true": THREADS - 1}
    assert len(alice.titles()) == 5


def test_concurrent_registrations_of_one_email_create_one_account(app: Flask) -> None:
    answers = at_once(
        [
            lambda: app.test_client().post(
                f"{AUTH}/register", json={"email": "one@example.com", "password": PASSWORD}
            )
        ]
        * THREADS
    )
    assert statuses(answers) == {201: 1, 409: THREADS - 1}


def test_tabs_that_refresh_at_once_all_stay_logged_in(app: Flask, sql: Callable[..., Any]) -> None:
    browser = app.test_client()
    register(browser)
    token = refresh_token_of(browser)
    kept = [token]
    for _ in range(4):
        answers = at_once(
            [lambda t=kept[n % len(kept)]: refresh_with(app, t) for n in range(THREADS)]
        )
        kept = [new_token(answer) for answer in answers]
        assert len({token_id_of(token) for token in kept}) == 1
    assert len(sql("SELECT id FROM sessions")) == 1


def test_tabs_that_slept_and_refresh_at_once_get_one_token(
    app: Flask, sql: Callable[..., Any]
) -> None:
    browser = app.test_client()
    register(browser)
    token = refresh_token_of(browser)
    new_token(refresh_with(app, token))  # the answer is lost
    for _ in range(4):
        sql("UPDATE refresh_tokens SET issued_at = issued_at - interval '1 hour',"
            " rotated_at = rotated_at - interval '1 hour'")  # fmt: skip
        answers = at_once([lambda: refresh_with(app, token)] * THREADS)
        assert len({token_id_of(new_token(answer)) for answer in answers}) == 1
    assert len(sql("SELECT id FROM sessions")) == 1


def test_logging_out_wins_over_concurrent_refreshes(app: Flask) -> None:
    for number in range(5):
        browser = app.test_client()
        csrf = register(browser, email=f"racer{number}@example.com").json["csrfToken"]
        token = refresh_token_of(browser)
        answers = at_once(
            [
                lambda b=browser, c=csrf: b.post(f"{AUTH}/logout", headers={"X-CSRF-Token": c}),
                *[lambda t=token: refresh_with(app, t)] * (THREADS - 1),
            ]
        )
        assert answers[0].status_code == 204
        assert set(statuses(answers)) <= {200, 204, 401}
        for answer in answers[1:]:
            if answer.status_code == 200:
                assert_error(refresh_with(app, new_token(answer)), 401, "auth_revoked")


def test_a_login_with_the_old_password_does_not_outlive_its_change(app: Flask) -> None:
    for number in range(3):
        user = User(app, f"changer{number}@example.com")
        credentials = {**CREDENTIALS, "email": user.email}
        change = {"currentPassword": PASSWORD, "newPassword": f"new horse battery {number}"}
        browsers = [app.test_client() for _ in range(5)]
        answers = at_once(
            [
                lambda u=user, c=change: u.request("PUT", "/auth/password", json=c),
                *[lambda b=b, c=credentials: b.post(f"{AUTH}/login", json=c) for b in browsers],
            ]
        )
        assert answers[0].status_code == 204
        assert [s["current"] for s in user.get("/auth/sessions").json["data"]] == [True]


def test_an_account_can_be_deleted_while_it_is_used(app: Flask, sql: Callable[..., Any]) -> None:
    for number in range(3):
        user = User(app, f"leaver{number}@example.com")
        tasks = [user.task() for _ in range(4)]
        answers = at_once(
            [
                lambda u=user: u.delete("/auth/me", json={"password": PASSWORD}),
                *[lambda u=user: u.post("/tasks", {"title": "x"}) for _ in range(3)],
                *[lambda u=user, t=t: u.delete(f"/tasks/{t['id']}") for t in tasks],
            ]
        )
        assert answers[0].status_code == 204
        assert set(statuses(answers)) <= {201, 204, 401, 404}
    assert sql("SELECT count(*) FROM tasks") == [(0,)]


def test_the_task_limit_holds_for_concurrent_batches(app_with: Callable[..., Flask]) -> None:
    user = User(app_with(max_tasks_per_user=10), "limited@example.com")
    batch = {"create": [{"title": "x"}] * 3}
    calls = [lambda: user.post("/tasks/batch", batch)] * 5 + [
        lambda: user.post("/tasks", {"title": "x"})
    ] * 5
    for _ in range(3):
        statuses_seen = statuses(at_once(calls))
        assert set(statuses_seen) <= {200, 201, 403}
        held = user.get("/tasks?limit=100").json["data"]
        assert len(held) == 3 * statuses_seen[200] + statuses_seen[201]
        assert 8 <= len(held) <= 10
        # A batch replaces all tasks by as many, so the limit refuses none of them.
        swap = {
            "create": [{"title": "x"}] * len(held),
            "delete": [{"id": task["id"]} for task in held],
        }
        answers = at_once([lambda s=swap: user.post("/tasks/batch", s)] * 3 + calls[-3:])
        assert statuses(answers[:3]) == {200: 1, 404: 2}
        assert len(user.get("/tasks?limit=100").json["data"]) <= 10
        user.post("/tasks/batch", {"delete": [
            {"id": task["id"]} for task in user.get("/tasks?limit=100").json["data"]
        ]})  # fmt: skip
        assert user.titles() == []


def test_a_version_lets_one_of_many_concurrent_batches_win(alice: User) -> None:
    tasks = [alice.task(title=f"T{number}") for number in range(4)]
    for _ in range(5):
        versions = {t["id"]: t["version"] for t in alice.get("/tasks").json["data"]}
        bodies = [
            {
                "create": [{"title": f"by {n}"}],
                "update": [
                    {"id": task["id"], "version": versions[task["id"]], "title": f"by {n}"}
                    for task in (tasks if n % 2 else reversed(tasks))
                ],
            }
            for n in range(THREADS)
        ]
        answers = at_once([lambda b=body: alice.post("/tasks/batch", b) for body in bodies])
        assert statuses(answers) == {200: 1, 412: THREADS - 1}
        [winner] = [answer.json for answer in answers if answer.status_code == 200]
        titles = alice.titles("?limit=100")
        assert titles.count(winner["updated"][0]["title"]) == 5
        alice.delete(f"/tasks/{winner['created'][0]['id']}")


def test_batches_and_single_updates_lose_no_field(alice: User) -> None:
    task = alice.task()
    path = f"/tasks/{task['id']}"
    changes = {"title": "New", "description": "New", "priority": "high", "tags": ["new"]}
    calls = [lambda c=c: alice.patch(path, dict([c])) for c in list(changes.items())[:2]]
    calls += [
        lambda c=c: alice.post("/tasks/batch", {"update": [{"id": task["id"], c[0]: c[1]}]})
        for c in list(changes.items())[2:]
    ]
    assert statuses(at_once(calls)) == {200: 4}
    after = alice.get(path).json
    assert {name: after[name] for name in changes} == changes
    assert after["version"] == task["version"] + 4


def test_concurrent_batches_with_one_key_write_once(alice: User, sql: Callable[..., Any]) -> None:
    for number in range(5):
        gone = alice.task()
        headers = {"Idempotency-Key": f"key-{number}"}
        body = {"create": [{"title": "A"}, {"title": "B"}], "delete": [{"id": gone["id"]}]}
        if number % 2:  # an expired key counts as a new one
            alice.post("/tasks", {"title": "x"}, headers=headers)
            sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
        answers = at_once([lambda: alice.post("/tasks/batch", body, headers=headers)] * THREADS)
        assert statuses(answers) == {200: THREADS}
        assert len({answer.text for answer in answers}) == 1
        replayed = [answer.headers.get("Idempotency-Replayed") for answer in answers]
        assert Counter(replayed) == {None: 1, "true": THREADS - 1}
        assert alice.titles("?limit=100").count("A") == number + 1


def test_one_key_is_one_request_for_concurrent_routes(alice: User) -> None:
    for number in range(5):
        headers = {"Idempotency-Key": f"key-{number}"}
        batch = {"create": [{"title": "x"}]}
        answers = at_once(
            [
                lambda: alice.post("/tasks/batch", batch, headers=headers),
                lambda: alice.post("/tasks", {"title": "x"}, headers=headers),
            ]
            * 4
        )
        assert statuses(answers) in ({200: 4, 422: 4}, {201: 4, 422: 4})
        assert len(alice.titles()) == number + 1


def test_concurrent_restores_restore_a_task_once(app_with: Callable[..., Flask]) -> None:
    user = User(app_with(max_tasks_per_user=2), "limited@example.com")
    tasks = [user.task() for _ in range(2)]
    for task in tasks:
        user.delete(f"/tasks/{task['id']}")
    user.task()
    for _ in range(3):
        calls = [lambda t=t: user.post(f"/tasks/{t['id']}/restore") for t in tasks] * 4
        answers = at_once(calls)
        assert statuses(answers) == {200: 4, 403: 4}
        restored = {answer.text for answer in answers if answer.status_code == 200}
        assert len(restored) == 1
        [task_id] = {answer.json["id"] for answer in answers if answer.status_code == 200}
        assert len(user.titles()) == 2
        assert user.delete(f"/tasks/{task_id}").status_code == 204


def test_an_update_that_is_refused_in_a_race_keeps_the_etag_of_the_list(
    alice: User, sql: Callable[..., Any]
) -> None:
    task = alice.task()
    path = f"/tasks/{task['id']}"
    for _ in range(5):
        tag = alice.get(path).headers["ETag"]
        [(before,)] = sql("SELECT change_number FROM users")
        answers = at_once(
            [lambda t=tag: alice.patch(path, {"title": "x"}, headers={"If-Match": t})] * THREADS
        )
        assert statuses(answers) == {200: 1, 412: THREADS - 1}
        assert sql("SELECT change_number FROM users") == [(before + 1,)]
