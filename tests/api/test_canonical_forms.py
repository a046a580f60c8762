"""A search finds canonically equivalent texts on every database; counts and times are exact."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask

from taskflow import create_app
from taskflow.config import Config
from taskflow.database.migrations import apply_migrations
from tests.support.assertions import assert_error
from tests.support.database import run_sql
from tests.support.users import User

NFC, NFD = "café", "cafe\N{COMBINING ACUTE ACCENT}"
HANGUL_NFC, HANGUL_NFD = "한글", unicodedata.normalize("NFD", "한글")
LOCALES = {
    "C": "LOCALE_PROVIDER libc LOCALE 'C'",
    "builtin C": "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C' LOCALE 'C'",
    "builtin C.UTF-8": "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'",
    "builtin full": "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST' LOCALE 'C'",
}
FOUND = [
    ("ÉTÉ", "été"), ("été", "ÉTÉ"), ("call “Report” now", "report"), ("Straße", "STRASSE"),
    ("STRASSE", "straße"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("σίσυφος", "ΣΊΣΥΦΟΣ"), (NFD, NFC), (NFC, NFD),
    (HANGUL_NFD, HANGUL_NFC), ("İstanbul", "i\N{COMBINING DOT ABOVE}stanbul"), ("½ cup", "½"),
    ("ship it \N{ROCKET}", "\N{ROCKET}"), ("5€ each", "each"),
    ("it\N{RIGHT SINGLE QUOTATION MARK}s", "s"),
    ("№5", "№5"),
    ("ǅungla", "ǆungla"), ("naïve—approach", "approach"), ("ﬁx", "FIX"), ("x²", "X²"),
    ("\N{ANGSTROM SIGN}ngstrom", "ångstrom"), ("a\N{NO-BREAK SPACE}b", "b"),
    ("日本語", "日本"), ("\N{FLAG IN HOLE}", "\N{FLAG IN HOLE}"), ("C++", "c"),
]  # fmt: skip
REFUSED = ["+", "€", "“”", "…", "—", "\N{NO-BREAK SPACE}", "%", "_", "\\", "«»", "$ ^ `", "¿?"]


@pytest.fixture(scope="module", params=LOCALES, ids=str)
def localized(
    request: pytest.FixtureRequest, empty_database: Callable[[], str], config: Config
) -> Iterator[Flask]:
    """Return an application on a database with a locale."""
    url = empty_database()
    server = config.database_url or ""
    name = urlsplit(url).path[1:]
    run_sql(server, f"DROP DATABASE {name}")
    run_sql(
        server,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {LOCALES[request.param]}",
    )
    settings = replace(config, database_url=url)
    apply_migrations(settings)
    return create_app(settings)


def test_a_search_finds_the_same_on_every_database(localized: Flask) -> None:
    user = User(localized, "one@example.com")
    for number, (text, _) in enumerate(FOUND):
        user.task(title=str(number), description=text)
    missing = [
        (text, words)
        for number, (text, words) in enumerate(FOUND)
        if str(number) not in user.titles(f"?limit=100&q={quote(words)}")
    ]
    assert missing == []


def test_the_search_finds_every_character_that_it_accepts(localized: Flask) -> None:
    user = User(localized, "two@example.com")
    for text in REFUSED:
        assert_error(user.get(f"/tasks?q={quote(text)}"), 400, "validation_error", "q")
    accepted = [
        chr(code) for code in (*range(0x20, 0x250), 0x2122, 0x2460, 0x1F600, 0x20E3, 0x3042)
    ]
    accepted = [c for c in accepted if user.get(f"/tasks?q={quote(c)}").status_code == 200]
    assert len(accepted) > 300
    for start in range(0, len(accepted), 100):
        some = accepted[start : start + 100]
        user.task(title=f"piece {start}", description=" ".join(some))
        for character in some:
            assert f"piece {start}" in user.titles(f"?limit=100&q={quote(character)}"), character


def test_tags_are_compared_and_found_in_nfc_and_kept_as_they_are_written(localized: Flask) -> None:
    user = User(localized, "three@example.com")
    written = user.task(title="NFD", tags=[NFD, "x"])
    user.task(title="NFC", tags=[NFC])
    user.task(title="other", tags=["cafe", HANGUL_NFD])
    assert written["tags"] == [NFD, "x"]
    for tag in (NFC, NFD):
        assert sorted(user.titles(f"?tag={quote(tag)}")) == ["NFC", "NFD"]
        assert user.titles(f"?tag={quote(tag)}&tag=x") == ["NFD"]
    assert user.titles(f"?tag={quote(HANGUL_NFC)}&tag=cafe") == ["other"]
    twice = {"title": "x", "tags": [NFC, NFD]}
    assert_error(user.post("/tasks", twice), 400, "validation_error", "tags")
    patch = {"tags": [f" {NFD}", NFC]}
    response = user.patch(f"/tasks/{written['id']}", patch)
    assert_error(response, 400, "validation_error", "tags")


def test_a_cursor_fits_a_filter_in_another_form(localized: Flask) -> None:
    user = User(localized, "four@example.com")
    for title in "ab":
        user.task(title=title, tags=[NFD])
    page = user.get(f"/tasks?limit=1&sort=title&tag={quote(NFC)}").json
    assert user.titles(f"?limit=1&sort=title&tag={quote(NFD)}&cursor={page['nextCursor']}") == ["b"]


def test_times_have_six_digits_of_fraction(alice: User, sql: Callable[..., Any]) -> None:
    task = alice.task(status="completed", dueDate="2030-01-01T00:00:00Z")
    for fraction in ("", ".1", ".12", ".120000", ".123456"):
        sql(
            "UPDATE tasks SET created_at = %s, updated_at = %s, completed_at = %s, due_at = %s",
            *[f"2026-01-02T03:04:05{fraction}+05:45"] * 4,
        )
        found = alice.get(f"/tasks/{task['id']}").json
        for name in ("createdAt", "updatedAt", "completedAt", "dueDate"):
            assert re.fullmatch(r"2026-01-01T21:19:05\.[0-9]{6}\+00:00", found[name])
            assert datetime.fromisoformat(found[name])
    sql("UPDATE users SET created_at = '2026-01-02T00:00:00Z'")
    sql("UPDATE sessions SET created_at = '2026-01-02T00:00:00.5Z'")
    assert alice.get("/auth/me").json["createdAt"] == "2026-01-02T00:00:00.000000+00:00"
    [session] = alice.get("/auth/sessions").json["data"]
    for name in ("createdAt", "lastUsedAt", "expiresAt"):
        assert re.fullmatch(r"[0-9T:-]{19}\.[0-9]{6}\+00:00", session[name])


@pytest.mark.parametrize("suffix", ["-gzip", "-br", "-zstd", "-deflate", ""])
@pytest.mark.parametrize("weakened", ["", "W/"], ids=["strong", "weakened"])
def test_the_etag_of_a_compressing_proxy_still_names_the_version(
    alice: User, suffix: str, weakened: str
) -> None:
    task = alice.task()
    tag = f'{weakened}"{task["version"]}{suffix}"'
    path = f"/tasks/{task['id']}"
    assert alice.get(path, headers={"If-None-Match": tag}).status_code == 304
    changed = alice.request("PUT", path, json={"title": "x"}, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert alice.get(path, headers={"If-None-Match": tag}).status_code == 200
    assert_error(alice.delete(path, headers={"If-Match": tag}), 412, "precondition_failed")
    for query in ("", "/changes", "/summary"):
        listed = alice.get(f"/tasks{query}").headers["ETag"]
        known = {"If-None-Match": listed[:-1] + suffix + '"'}
        assert alice.get(f"/tasks{query}", headers=known).status_code == 304


COUNTS = """
SELECT users.task_count, (SELECT count(*) FROM tasks WHERE user_id = users.id)
FROM users
WHERE email LIKE 'alice%%' OR email LIKE 'bob%%'
"""
INSERT = "INSERT INTO tasks (user_id, title) SELECT %s, 'by SQL ' || n FROM generate_series(1, 5) n"


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("DELETE FROM tasks WHERE user_id = %(alice)s", 0),
        ("DELETE FROM tasks WHERE title = 'by SQL 1'", 7),
        ("DELETE FROM tasks", 0),
        ("TRUNCATE tasks", 0),
        ("WITH gone AS (DELETE FROM tasks WHERE title LIKE 'by SQL%%' RETURNING 1) SELECT 1", 3),
        ("INSERT INTO tasks (user_id, title) VALUES (%(alice)s, 'x'), (%(bob)s, 'y')", 9),
        ("UPDATE tasks SET title = 'x', status = 'completed'", 8),
        ("UPDATE tasks SET id = gen_random_uuid()", 8),
        ("DELETE FROM users WHERE id = %(bob)s", 8),
        ("INSERT INTO tasks SELECT gen_random_uuid(), %(alice)s, 'c' FROM tasks WHERE false", 8),
    ],
    ids=lambda value: str(value)[:50],
)
def test_the_limit_counts_rows_whatever_an_operator_does_by_sql(
    app_with: Callable[..., Flask],
    sql: Callable[..., Any],
    config: Config,
    statement: str,
    left: int,
) -> None:
    app = app_with(max_tasks_per_user=10)
    alice, bob = User(app, "alice@example.com"), User(app, "bob@example.com")
    for user in (alice, bob):
        for number in range(3):
            user.task(title=f"by the service {number}")
        sql(INSERT, user.id)
    run_sql(config.database_url or "", statement, {"alice": alice.id, "bob": bob.id})
    assert all(count == rows for count, rows in sql(COUNTS)), sql(COUNTS)
    assert len(alice.titles("?limit=100")) == left
    answers = [alice.post("/tasks", {"title": "x"}).status_code for _ in range(11)]
    assert answers == [201] * (10 - left) + [403] * (left + 1)


def test_a_move_of_tasks_to_another_user_is_counted_for_both(
    app_with: Callable[..., Flask], sql: Callable[..., Any]
) -> None:
    app = app_with(max_tasks_per_user=10)
    alice, bob = User(app, "alice@example.com"), User(app, "bob@example.com")
    alice.task()
    sql("UPDATE tasks SET user_id = %s", bob.id)
    assert all(count == rows for count, rows in sql(COUNTS)), sql(COUNTS)


def test_tasks_that_are_copied_into_the_table_are_counted(
    alice: User, sql: Callable[..., Any]
) -> None:
    sql(
        "INSERT INTO tasks (user_id, title) SELECT user_id, title FROM"
        " (VALUES (%s::uuid, 'a'), (%s::uuid, 'b')) AS copied (user_id, title)",
        alice.id, alice.id,
    )  # fmt: skip
    assert all(count == rows for count, rows in sql(COUNTS)), sql(COUNTS)
    assert sorted(alice.titles()) == ["a", "b"]
    versions = [task["version"] for task in alice.get("/tasks").json["data"]]
    assert len(set(versions)) == 2
