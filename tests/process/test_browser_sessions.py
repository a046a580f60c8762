"""The example frontend's client keeps a session, and the page shows the session's state."""

import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from playwright.sync_api import Page, expect

from app import serve_frontend
from taskflow.auth.resets import make_reset_token
from taskflow.config import Config
from tests.support.browser import (
    OpenTab,
    create_tasks,
    expect_member,
    expect_stranger,
    log_in,
    register,
    requests_of,
    script,
)
from tests.support.credentials import PASSWORD, SECRET
from tests.support.service import serving


def test_requests_with_an_expired_token_share_one_refresh_and_are_sent_again(page: Page) -> None:
    token = script(page, "await api.refresh(); return api.accessToken")
    claims = jwt.decode(token, options={"verify_signature": False})
    expired = jwt.encode({**claims, "exp": time.time() - 1}, SECRET)
    sent = requests_of(page)
    at_once = """
        api.accessToken = expired;
        const created = [1, 2, 3].map((n) => api.createTask({ title: `Task ${n}` }));
        return (await Promise.all(created)).map(({ title }) => title);
    """
    assert script(page, at_once, expired=expired) == ["Task 1", "Task 2", "Task 3"]
    creations = [request for request in sent if request.url.endswith("/tasks")]
    statuses = [response.status for request in creations if (response := request.response())]
    assert sorted(statuses) == [201] * 3 + [401] * 3
    assert len({request.headers["idempotency-key"] for request in creations}) == 3
    assert len({request.headers["x-correlation-id"] for request in creations}) == 6
    [refresh] = [request for request in sent if request.url.endswith("/auth/refresh")]
    assert refresh.headers["x-csrf-token"]
    assert "authorization" not in refresh.headers  # the cookie authenticates it


def test_tabs_that_refresh_at_the_same_time_stay_logged_in(page: Page, open_tab: OpenTab) -> None:
    tabs = [
        page,
        open_tab(beside=page),
        open_tab(beside=page),
    ]  # the new tabs have no access token yet
    reload_at = "at => { window.old = true; setTimeout(() => location.reload(), at - Date.now()) }"
    for _ in range(3):
        soon = time.time() * 1000 + 200
        for tab in tabs:
            tab.evaluate(reload_at, soon)
        for tab in tabs:
            tab.wait_for_function("() => !window.old")
            expect_member(tab)
    page.get_by_role("button", name="Log out").click()
    for tab in tabs:
        expect_stranger(tab)
        tab.reload()
        expect_stranger(tab)


def test_a_session_that_is_ended_elsewhere_is_shown_at_once(page: Page, open_tab: OpenTab) -> None:
    other = open_tab()
    log_in(other)
    expect_member(other)
    create_tasks(other, {"title": "Buy milk"})
    other.get_by_role("button", name="Edit Buy milk").click()
    other.locator(".editor").get_by_label("Notes").fill("A draft")
    page.locator("#email").click()
    sessions = page.get_by_role("list", name="Sessions").get_by_role("listitem")
    expect(sessions).to_have_count(2)
    page.get_by_role("button", name="End the session").click()
    expect(sessions).to_have_count(1)
    expect_stranger(other, timeout=5_000)  # untouched
    expect(other.get_by_text("Your session has ended. Log in to go on.")).to_be_visible()
    log_in(other)
    expect(other.locator(".editor").get_by_label("Notes")).to_have_value("A draft")


def test_a_new_password_ends_the_other_sessions(page: Page, open_tab: OpenTab) -> None:
    new_password = "another horse battery"
    other = open_tab()
    log_in(other)
    expect_member(other)
    page.locator("#email").click()
    form = page.locator("#change-password")
    form.get_by_label("Current password").fill("wrong horse battery")
    form.get_by_label("New password").fill(new_password)
    form.get_by_role("button", name="Change password").click()
    expect(form.get_by_role("alert")).to_have_text("The email or password is wrong.")
    form.get_by_label("Current password").fill(PASSWORD)
    form.get_by_role("button", name="Change password").click()
    expect(page.locator("#toast")).to_contain_text("The password was changed.")
    expect_stranger(other, timeout=5_000)
    page.reload()
    expect_member(page)
    log_in(other)
    expect(other.get_by_role("alert")).to_contain_text("The email or password is wrong.")
    log_in(other, new_password)
    expect_member(other)


def test_the_account_panel_changes_the_email_and_deletes_the_account(page: Page) -> None:
    page.locator("#email").click()
    form = page.locator("#change-email")
    form.get_by_label("New address").fill("eve@example.com")
    form.get_by_label("Confirm with your password").fill(PASSWORD)
    form.get_by_role("button", name="Change email").click()
    expect(page.get_by_role("banner")).to_contain_text("eve@example.com")
    expect(page.locator("#current-email")).to_have_text("eve@example.com")
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("#welcome-note")).to_be_empty()
    log_in(page, email="eve@example.com")
    expect(page.get_by_role("heading", name="Account", exact=True)).to_be_visible()
    form = page.locator("#delete-account")
    form.get_by_label("Confirm with your password").fill(PASSWORD)
    form.get_by_role("button", name="Delete account").click()
    expect_stranger(page)
    log_in(page, email="eve@example.com")
    expect(page.get_by_role("alert")).to_contain_text("The email or password is wrong.")


def test_the_page_takes_a_reset_token(
    page: Page, sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    [(user_id, password_hash)] = sql("SELECT id::text, password_hash FROM users")
    token = make_reset_token(user_id, password_hash, (SECRET,))
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Forgot the password?").click()
    page.get_by_label("Reset token").fill(token)
    page.get_by_label("Password", exact=True).fill("another horse battery")
    page.get_by_role("button", name="Set password").click()
    expect(page.locator("#toast")).to_contain_text("The password is set.")
    log_in(page, "another horse battery")
    expect_member(page)


def test_a_page_can_read_errors_and_its_preflights_spend_no_budget(
    open_tab: OpenTab, frontend: str, config: Config
) -> None:
    limit = {"RATE_LIMIT": "5/minute", "CORS_ORIGINS": frontend}
    with serving(config.database_url or "", **limit) as service:
        page = open_tab(service=service)
        error = script(page, "await api.register('ann@example.com', 'short')")
        assert (error["status"], error["code"]) == (400, "validation_error")
        assert error["fields"] == {"password": "Must have 8 to 128 characters."}
        register(page)
        too_many = """
            await api.refresh();
            await Promise.allSettled([1, 2, 3, 4, 5].map((limit) => api.listTasks({ limit })));
            await api.updateTask({ id: "x" }, { title: "x" });
        """
        refused = script(page, too_many)
        assert (refused["status"], refused["code"]) == (429, "rate_limited")
        assert 0 < refused["retryAfter"] <= 60
        lines = [json.loads(line) for line in service.stop()]
    requests = [line for line in lines if line["logger"] == "taskflow.request"]
    assert refused["correlationId"] in {line["correlationId"] for line in requests}
    preflights = [line for line in requests if line["method"] == "OPTIONS"]
    assert {line["status"] for line in preflights} <= {200, 204}
    assert "/api/v1/tasks/x" in {line["path"] for line in preflights}


def test_a_page_on_another_origin_reads_and_changes_nothing(page: Page, open_tab: OpenTab) -> None:
    with serve_frontend() as elsewhere:
        stranger = open_tab(beside=page, origin=elsewhere)  # localhost too: cookies are sent
        read = """
            const answer = await fetch(origin + path, { credentials: "include" });
            return await answer.text();
        """
        for path in ("/health", "/openapi.json", "/api/v1/auth/me", "/nowhere"):
            assert script(page, read, path=path).startswith("{")
            assert script(stranger, read, path=path)["name"] == "TypeError"
        for call in ("listTasks()", "login('ann@example.com', 'correct horse battery')"):
            assert script(stranger, f"await api.{call}")["code"] == "network_error"
        blindly = """
            const how = { method: "POST", mode: "no-cors", credentials: "include" };
            return (await fetch(`${api.base}/auth/logout`, how)).type;
        """
        assert script(stranger, blindly) == "opaque"
    page.reload()
    expect_member(page)
