"""A list is filtered, sorted and searched, and paging misses and repeats nothing."""

import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Flask

from taskflow.tasks.schemas import PRIORITIES, SORTS, STATUSES
from tests.support.assertions import assert_error
from tests.support.users import User

DUE_DATES = (
    None,
    "2026-12-01",
    "2026-12-01T00:00:00+00:00",
    "2026-12-01T23:59:59.999999+00:00",
    "2026-12-02",
    "2026-11-30T12:00:00+00:00",
)


@pytest.fixture
def many(alice: User) -> User:
    """Return a user with 60 tasks, many of which have equal sort keys."""
    rng = random.Random(7)
    for number in range(60):
        alice.task(
            title=f"{rng.choice(['Task', 'task', 'Über', 'über'])} {number % 7}",
            status=rng.choice(STATUSES),
            priority=rng.choice(PRIORITIES),
            tags=rng.sample(["a", "b", "c"], rng.randint(0, 3)),
            dueDate=rng.choice(DUE_DATES),
        )
    return alice


def walk(user: User, **params: Any) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a list, page after page."""
    while True:
        response = user.get(f"/tasks?{urlencode(params, doseq=True)}")
        assert response.status_code == 200, response.text
        yield from response.json["data"]
        cursor = response.json["nextCursor"]
        if cursor is None:
            assert "Link" not in response.headers
            return
        url, _, relation = response.headers["Link"].partition("; ")
        assert relation == 'rel="next"'
        followed = parse_qs(urlsplit(url.strip("<>")).query)
        params["cursor"] = cursor
        assert followed == parse_qs(urlencode(params, doseq=True))


def sort_key(task: dict[str, Any], sort: str) -> tuple[Any, ...]:
    """Return the key by which the contract orders a list."""
    name = sort.lstrip("-")
    value = task[name]
    if name == "dueDate":
        missing = value is None
        if value and len(value) == 10:
            value += "T23:59:59.999999+00:00"
        moment = datetime.fromisoformat(value) if value else datetime.min.replace(tzinfo=UTC)
        return (missing != sort.startswith("-"), moment, task["id"])
    if name == "priority":
        value = PRIORITIES.index(value)
    if name == "title":  # ASCII letters without regard to case
        value = "".join(c.lower() if c.isascii() else c for c in value)
    return (value, task["id"])


@pytest.mark.parametrize("sort", SORTS)
def test_every_sort_is_ordered_and_complete_for_any_page_size(many: User, sort: str) -> None:
    pages = list(walk(many, sort=sort, limit=7))
    assert pages == sorted(pages, key=lambda t: sort_key(t, sort), reverse=sort.startswith("-"))
    assert len({task["id"] for task in pages}) == 60
    assert list(walk(many, sort=sort, limit=100)) == pages


def test_tasks_without_a_due_date_come_last_in_both_directions(many: User) -> None:
    for sort in ("dueDate", "-dueDate"):
        missing = [task["dueDate"] is None for task in walk(many, sort=sort)]
        assert missing == sorted(missing)
        assert any(missing)


def test_a_list_shows_the_twenty_newest_tasks_by_default(many: User) -> None:
    body = many.get("/tasks").json
    assert body["data"] == list(walk(many, sort="-createdAt"))[:20]
    assert body["nextCursor"]


def test_links_keep_filters_with_special_characters(alice: User) -> None:
    for _ in range(2):
        alice.task(tags=["é&=% +#"])
    assert len(list(walk(alice, limit=1, tag="é&=% +#"))) == 2


def test_a_link_escapes_a_character_that_came_half_escaped(alice: User) -> None:
    for _ in range(2):
        alice.task(tags=["é"])
    # Some WSGI servers pass raw bytes on, as Latin-1.
    response = alice.get("/tasks", environ_overrides={"QUERY_STRING": "limit=1&tag=\xc3%A9"})
    assert "?limit=1&tag=%C3%A9&cursor=" in response.headers["Link"]


def test_a_last_page_that_is_exactly_full_has_no_cursor(alice: User) -> None:
    for _ in range(3):
        alice.task()
    assert alice.get("/tasks?limit=3").json["nextCursor"] is None
    assert alice.get("/tasks?limit=2").json["nextCursor"]
    assert len(list(walk(alice, limit=1))) == 3


def test_paging_shows_every_lasting_task_once_while_others_come_and_go(many: User) -> None:
    for sort in ("-createdAt", "title", "dueDate", "-priority"):
        before = list(walk(many, sort=sort))
        kept = [task["id"] for task in before]
        seen = []
        for number, task in enumerate(walk(many, sort=sort, limit=5)):
            seen.append(task["id"])
            if number % 10 == 4:  # between two pages
                many.task(title="Task 3", priority="medium", dueDate="2026-12-01")
                gone = kept.pop(kept.index(task["id"]))
                many.delete(f"/tasks/{gone}")
        assert [task_id for task_id in seen if task_id in set(kept)] == kept
        assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ({"status": ["pending"]}, lambda t: t["status"] == "pending"),
        ({"status": ["pending", "completed"]}, lambda t: t["status"] != "in_progress"),
        ({"priority": ["low", "high"]}, lambda t: t["priority"] != "medium"),
        ({"tag": ["a"]}, lambda t: "a" in t["tags"]),
        ({"tag": ["a", "c"]}, lambda t: {"a", "c"} <= set(t["tags"])),
        ({"tag": ["A"]}, lambda t: False),
        ({"status": ["pending"], "tag": ["b"], "priority": ["low"]},
         lambda t: t["status"] == "pending" and "b" in t["tags"] and t["priority"] == "low"),
    ],
    ids=["a status", "two statuses", "two priorities", "a tag", "two tags", "a tag in another case",
         "status, tag and priority"],
)  # fmt: skip
def test_filters_select_the_matching_tasks(
    many: User, query: dict[str, Any], chosen: Callable[[Any], bool]
) -> None:
    everything = list(walk(many))
    assert list(walk(many, limit=4, **query)) == [task for task in everything if chosen(task)]


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        # A day counts as its last microsecond in a task, and as its first in a filter.
        ({"dueBefore": "2026-12-01"}, ["2026-11-30T12:00:00.000000+00:00"]),
        ({"dueAfter": "2026-12-02"}, ["2026-12-02"]),
        ({"dueAfter": "2026-12-01T00:00:00.000001Z", "dueBefore": "2026-12-02"},
         ["2026-12-01", "2026-12-01T23:59:59.999999+00:00"]),
        ({"dueAfter": "2026-12-01T23:59:59.999999Z", "dueBefore": "2026-12-02T00:00:00Z"},
         ["2026-12-01", "2026-12-01T23:59:59.999999+00:00"]),
        ({"dueAfter": "2026-12-01T01:00:00+01:00", "dueBefore": "2026-12-01T00:00:00.000001Z"},
         ["2026-12-01T00:00:00.000000+00:00"]),
        ({"dueAfter": "2999-12-31", "dueBefore": "1970-01-01"}, []),
    ],
    ids=["before a day", "after a day", "after a time and before a day", "between two times",
         "one microsecond", "an empty range"],
)  # fmt: skip
def test_due_date_filters_are_exact_to_the_microsecond(
    alice: User, query: dict[str, str], chosen: list[str]
) -> None:
    for due in DUE_DATES:
        alice.task(dueDate=due)
    assert sorted(task["dueDate"] for task in walk(alice, **query)) == sorted(chosen)


SEARCHES: dict[str, set[str]] = {
    "quarterly": {"Quarterly report.pdf"},
    "REP": {"Quarterly report.pdf", "Reply to ann@example.com"},
    "pdf quar": {"Quarterly report.pdf"},
    "report figures": {"Quarterly report.pdf"},  # one word in the title, one in the description
    "report missing": set(),
    "eport": set(),
    "example.com": {"Reply to ann@example.com"},
    "ann@": {"Reply to ann@example.com"},
    "ÜBER": {"über-cool C'est l'été"},
    "uber": set(),
    "l'ét": {"über-cool C'est l'été"},
    "cool:* | !nothing & (": set(),
    "'; DROP TABLE tasks; --": set(),
    "北京": {"北京 trip"},
    "the": {"The who"},
    "42": {"42 is 3.14159"},
    "3.14": {"42 is 3.14159"},
}


@pytest.mark.parametrize(("q", "found"), SEARCHES.items(), ids=SEARCHES)
def test_search_matches_every_word_by_its_prefix(alice: User, q: str, found: set[str]) -> None:
    alice.task(title="Quarterly report.pdf", description="All the figures-of-2026")
    alice.task(title="Reply to ann@example.com")
    alice.task(title="über-cool C'est l'été")
    alice.task(title="北京 trip")
    alice.task(title="The who")
    alice.task(title="42 is 3.14159")
    expected = found | ({"Quarterly report.pdf"} if q == "the" else set())
    assert {task["title"] for task in walk(alice, q=q)} == expected


def test_search_finds_a_changed_task_by_its_new_words(alice: User) -> None:
    task = alice.task(title="Buy milk", description="semi-skimmed")
    alice.patch(f"/tasks/{task['id']}", {"title": "Buy oats"})
    assert alice.titles("?q=milk") == []
    assert alice.titles("?q=oats+skimmed") == ["Buy oats"]


def test_a_cursor_is_bound_to_its_sort_its_filters_and_the_service(
    many: User, app_with: Callable[..., Flask]
) -> None:
    cursor = many.get("/tasks?status=pending&status=completed&limit=1").json["nextCursor"]
    same = f"/tasks?status=completed&status=pending&limit=9&cursor={cursor}"
    assert many.get(same).status_code == 200
    for query in (
        f"?cursor={cursor}",
        f"?status=pending&cursor={cursor}",
        f"?status=pending&status=completed&sort=title&cursor={cursor}",
        f"?status=pending&status=completed&q=a&cursor={cursor}",
        f"?status=pending&status=completed&cursor={cursor[:-1]}",
        f"?status=pending&status=completed&cursor={cursor[1:]}",
        f"?status=pending&status=completed&cursor={cursor.swapcase()}",
        "?cursor=x",
        "?cursor=%F0%9F%9A%80",
    ):
        assert_error(many.get(f"/tasks{query}"), 400, "validation_error", "cursor")
    elsewhere = app_with(jwt_secret="another-secret-of-more-than-32-bytes").test_client()
    login = elsewhere.post(
        "/api/v1/auth/login", json={"email": many.email, "password": "correct horse battery"}
    )
    headers = {"Authorization": f"Bearer {login.json['accessToken']}"}
    response = elsewhere.get(f"/api/v1{same}", headers=headers)
    assert_error(response, 400, "validation_error", "cursor")


def test_a_list_holds_only_the_users_own_tasks(alice: User, bob: User) -> None:
    alice.task(title="Alice's")
    bob.task(title="Bob's")
    for query in itertools.chain([""], (f"?sort={sort}" for sort in SORTS), ["?q=s"]):
        assert alice.titles(query) == ["Alice's"]


def test_an_unchanged_list_is_304(alice: User) -> None:
    task = alice.task(title="A")
    alice.task(title="B")
    first = alice.get("/tasks?limit=1")
    for query in ("", "?limit=1", f"?limit=1&cursor={first.json['nextCursor']}", "?q=nothing"):
        tag = alice.get(f"/tasks{query}").headers["ETag"]
        assert tag.startswith('W/"')
        gzipped = f'{tag[:-1]}-gzip"'
        for value in (tag, tag.removeprefix("W/"), f'"x" ,{tag}', "*", " * ", gzipped):
            response = alice.get(f"/tasks{query}", headers={"If-None-Match": value})
            assert (response.status_code, response.data) == (304, b""), value
            assert response.headers["ETag"] == tag
            assert response.headers["Cache-Control"] == "private, no-cache"
        alice.patch(f"/tasks/{task['id']}", {"title": "C"})
        assert alice.get(f"/tasks{query}", headers={"If-None-Match": tag}).status_code == 200


def test_the_etag_of_a_list_differs_by_query_and_user(alice: User, bob: User) -> None:
    """Check that a browser's cache can't show one user the tasks of another."""
    alice.task()
    bob.task()
    tag = alice.get("/tasks").headers["ETag"]
    for user, query in (
        (bob, ""),
        (alice, "?limit=20"),
        (alice, "?sort=title"),
        (bob, "?limit=20"),
    ):
        response = user.get(f"/tasks{query}", headers={"If-None-Match": tag})
        assert response.status_code == 200
        assert len(response.json["data"]) == 1
        assert response.headers["ETag"] != tag


def test_every_change_of_a_task_changes_the_etag_of_a_list(
    alice: User, bob: User, sql: Callable[..., Any]
) -> None:
    task = alice.task()
    path = f"/tasks/{task['id']}"
    writes: list[Callable[[], Any]] = [
        lambda: alice.task(),
        lambda: alice.patch(path, {"title": "New"}),
        lambda: alice.delete(path),
        lambda: alice.post(f"{path}/restore"),
        lambda: alice.post("/tasks/batch", {"update": [{"id": task["id"], "title": "Newer"}]}),
        lambda: alice.post("/tasks/batch", {"delete": [{"id": task["id"]}]}),
        lambda: sql("UPDATE tasks SET priority = 'low'"),
        lambda: sql("INSERT INTO tasks (user_id, title) VALUES (%s, 'x')", alice.id),
        lambda: sql("DELETE FROM tasks WHERE title = 'x'"),
    ]
    for write in writes:
        tag = alice.get("/tasks").headers["ETag"]
        bob.task()
        assert alice.get("/tasks", headers={"If-None-Match": tag}).status_code == 304
        write()
        assert alice.get("/tasks", headers={"If-None-Match": tag}).status_code == 200


def test_a_refused_write_keeps_the_etag_of_a_list(alice: User, bob: User) -> None:
    task, other = alice.task(), bob.task()
    path, stale = f"/tasks/{task['id']}", {"If-Match": '"99"'}
    batch = {"create": [{"title": "x"}], "update": [{"id": task["id"], "version": 9, "title": "y"}]}
    tag = alice.get("/tasks").headers["ETag"]
    for response, status in (
        (alice.post("/tasks", {"title": ""}), 400),
        (alice.patch(path, {"title": "x"}, headers=stale), 412),
        (alice.delete(path, headers=stale), 412),
        (alice.patch(f"/tasks/{other['id']}", {"title": "x"}), 404),
        (alice.delete(f"/tasks/{other['id']}"), 404),
        (alice.post(f"/tasks/{other['id']}/restore"), 404),
        (alice.post("/tasks/batch", batch), 412),
        (alice.patch(path, {"id": task["id"]}), 200),  # only read-only fields
    ):
        assert response.status_code == status
        assert alice.get("/tasks").headers["ETag"] == tag


@pytest.mark.parametrize("number", ["01", "001", "9999999999", "99999999999999999999", "+1", "1 "])
def test_an_etag_that_the_service_never_sent_is_unknown(alice: User, number: str) -> None:
    alice.task()
    for path in ("/tasks", "/tasks/changes", "/tasks/summary"):
        tag = alice.get(path).headers["ETag"]
        _, _, rest = tag.removeprefix('W/"').partition("-")
        response = alice.get(path, headers={"If-None-Match": f'W/"{number}-{rest}'})
        assert response.status_code == (400 if " " in number else 200)
        assert response.status_code == 400 or response.headers["ETag"] == tag
        assert path != "/tasks" or " " in number or len(response.json["data"]) == 1


@pytest.mark.parametrize("path", ["/tasks", "/tasks/changes", "/tasks/summary"])
@pytest.mark.parametrize("value", ["x", '"', "W/", '"a" "b"', 'w/"a"', "*, *", "5"])
def test_a_malformed_if_none_match_is_refused(alice: User, path: str, value: str) -> None:
    response = alice.get(path, headers={"If-None-Match": value})
    assert_error(response, 400, "validation_error", "If-None-Match")
