"""Refreshing keeps one newest token per session, and an old token ends the session."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.assertions import assert_error
from tests.support.sessions import (
    AUTH,
    new_token,
    refresh_token_of,
    refresh_with,
    register,
    token_id_of,
)

Later = Callable[[int], None]
Refresh = Callable[[str], str]


@pytest.fixture
def first(client: FlaskClient) -> str:
    """Return the refresh token of a new session."""
    register(client)
    return refresh_token_of(client)


@pytest.fixture
def later(sql: Callable[..., Any]) -> Later:
    """Return a function that makes the refresh tokens older by some seconds."""

    def move(seconds: int) -> None:
        sql(
            "UPDATE refresh_tokens SET issued_at = issued_at - %s * interval '1 second',"
            " rotated_at = rotated_at - %s * interval '1 second'",
            seconds,
            seconds,
        )
        sql("UPDATE sessions SET last_used_at = last_used_at - %s * interval '1 second'", seconds)

    return move


@pytest.fixture
def use(app: Flask) -> Refresh:
    """Return a function that refreshes with a token and returns the new one."""
    return lambda token: new_token(refresh_with(app, token))


def test_a_repeat_within_30_seconds_gets_the_newest_token(
    first: str, use: Refresh, later: Later
) -> None:
    second = use(first)
    later(29)
    assert token_id_of(use(first)) == token_id_of(second) != token_id_of(first)
    third = use(second)
    assert token_id_of(use(second)) == token_id_of(third)


def test_a_repeat_does_not_extend_the_session(
    first: str, use: Refresh, sql: Callable[..., Any]
) -> None:
    use(first)
    sql("UPDATE sessions SET expires_at = now() + interval '1 hour'")
    use(first)
    assert sql("SELECT expires_at < now() + interval '2 hours' FROM sessions") == [(True,)]


def test_a_client_whose_answer_was_lost_refreshes_again_at_any_time(
    app: Flask, first: str, use: Refresh, later: Later
) -> None:
    lost = use(first)
    later(100_000)
    second = use(first)
    assert token_id_of(second) not in (token_id_of(first), token_id_of(lost))
    later(31)
    third = use(second)
    assert_error(refresh_with(app, lost), 401, "auth_revoked")
    assert_error(refresh_with(app, third), 401, "auth_revoked")


def test_a_client_whose_answer_came_late_refreshes_again(
    app: Flask, first: str, use: Refresh, later: Later
) -> None:
    second = use(first)
    later(20)
    third = use(second)  # by another tab; the late answer overwrites its cookie
    later(1000)
    fourth = use(second)
    assert_error(refresh_with(app, third), 401, "auth_revoked")
    assert_error(refresh_with(app, fourth), 401, "auth_revoked")


def test_a_token_that_was_used_shortly_before_the_newest_was_made_works(
    app: Flask, first: str, use: Refresh, later: Later
) -> None:
    second = use(first)
    later(29)
    use(second)
    later(1000)
    assert use(first)
    assert_error(refresh_with(app, second), 401, "auth_revoked")


def test_a_late_answer_to_a_repeat_keeps_its_client_logged_in(
    first: str, use: Refresh, later: Later
) -> None:
    use(first)
    later(20)
    late = use(first)
    later(20)
    newest = use(first)
    assert token_id_of(use(late)) == token_id_of(newest)
    later(1000)
    assert use(late)


def test_reusing_an_older_token_ends_the_session(
    app: Flask, first: str, use: Refresh, later: Later, sql: Callable[..., Any]
) -> None:
    second = use(first)
    later(31)
    third = use(second)
    assert_error(refresh_with(app, first), 401, "auth_revoked")
    assert_error(refresh_with(app, third), 401, "auth_revoked")
    assert sql("SELECT id FROM sessions") == []


def test_a_thief_and_the_owner_cannot_both_keep_refreshing(
    app: Flask, first: str, use: Refresh, later: Later
) -> None:
    stolen = use(first)  # the owner has never seen it
    later(31)
    mine = use(first)
    later(31)
    assert_error(refresh_with(app, stolen), 401, "auth_revoked")
    assert_error(refresh_with(app, mine), 401, "auth_revoked")


def test_a_token_of_another_session_ends_only_that_one(
    app: Flask, client: FlaskClient, first: str, use: Refresh, sql: Callable[..., Any]
) -> None:
    register(app.test_client(), email="other@example.com")
    sql("DELETE FROM refresh_tokens WHERE id = %s", token_id_of(first))
    assert_error(refresh_with(app, first), 401, "auth_revoked")
    assert sql("SELECT count(*) FROM sessions") == [(1,)]


def test_each_unused_token_of_version_1_0_works_until_one_is_used(
    app: Flask, first: str, use: Refresh, later: Later, sql: Callable[..., Any]
) -> None:
    # Three tabs refreshed at once, and each got a token of its own.
    later(60)
    others = [use(first)]
    sql("UPDATE refresh_tokens SET rotated_at = NULL")
    others.append(use(others[0]))
    sql("UPDATE refresh_tokens SET rotated_at = NULL")
    later(60)
    newest = use(first)
    later(31)
    assert use(newest)
    assert_error(refresh_with(app, others[1]), 401, "auth_revoked")


def test_a_session_stores_two_refresh_tokens_at_most(
    first: str, use: Refresh, later: Later, sql: Callable[..., Any]
) -> None:
    token = first
    for _ in range(20):
        token = use(token)
        later(31)
    assert sql("SELECT count(*) FROM refresh_tokens") == [(2,)]


def test_a_refresh_needs_the_token_of_its_cookie_before_a_bearer(
    client: FlaskClient, first: str
) -> None:
    assert_error(client.post(f"{AUTH}/refresh"), 403, "csrf_failed")
    client.set_cookie("refresh_token", "garbage", path=AUTH)
    bearer = {"Authorization": f"Bearer {first}"}
    assert_error(client.post(f"{AUTH}/refresh", headers=bearer), 401, "auth_invalid")
