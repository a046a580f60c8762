"""The example frontend works in a real browser, on another origin than the API."""

import json
import shutil
import time
from collections.abc import Iterator
from typing import Any, Protocol

import jwt
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)

from app import serve_frontend
from taskflow.config import Config
from tests.support.credentials import PASSWORD, SECRET
from tests.support.service import Service, serving

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

EMAIL = "ann@example.com"
expect.set_options(timeout=20_000)


class OpenTab(Protocol):
    def __call__(
        self, beside: Page | None = None, origin: str = "", service: Service | None = None
    ) -> Page: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = ["--disable-gpu", "--disable-quic"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def frontend() -> Iterator[str]:
    with serve_frontend() as origin:
        yield origin


@pytest.fixture(scope="module")
def service(config: Config, frontend: str) -> Iterator[Service]:
    quiet = {"LOG_LEVEL": "error"}  # its output is read at the end only
    with serving(config.database_url or "", CORS_ORIGINS=frontend, **quiet) as service:
        yield service


@pytest.fixture
def open_tab(browser: Browser, frontend: str, service: Service) -> Iterator[OpenTab]:
    """Return a function that opens the example in a new browser, or in a tab beside another."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []
    default = service

    def open_tab(
        beside: Page | None = None, origin: str = frontend, service: Service | None = None
    ) -> Page:
        if beside is None:
            contexts.append(browser.new_context())
            contexts[-1].on("weberror", lambda error: faults.append(str(error.error)))
        page = (beside.context if beside else contexts[-1]).new_page()
        page.goto(f"{origin}/?api=http://localhost:{(service or default).port}")
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def page(open_tab: OpenTab) -> Page:
    """Return a tab of a browser in which Ann has registered."""
    page = open_tab()
    enter(page, "Register")
    expect_member(page)
    return page


def enter(page: Page, button: str, password: str = PASSWORD) -> None:
    """Log in or register."""
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name=button).click()


def expect_member(page: Page) -> None:
    expect(page.get_by_role("banner")).to_contain_text(EMAIL)


def expect_stranger(page: Page) -> None:
    expect(page.get_by_role("heading", name="Log in or register")).to_be_visible()


def expect_titles(page: Page, *titles: str) -> None:
    expect(page.get_by_role("list", name="Tasks").locator("b")).to_have_text(list(titles))


def script(page: Page, code: str, **values: Any) -> Any:
    """Run code in a page, and return its result or its error.

    The code has a client `api` of its own, the API's `origin`, and these values.
    """
    return page.evaluate(
        f"""async ({{ {", ".join(values)} }}) => {{
            const {{ TaskFlow }} = await import("/taskflow.js");
            const origin = new URLSearchParams(location.search).get("api");
            const api = new TaskFlow(origin);
            try {{ {code} }} catch (error) {{ return {{ name: error.name, ...error }} }}
        }}""",
        values,
    )


def requests_of(page: Page) -> list[Request]:
    """Return a list that collects the requests that the page sends from now on."""
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))
    return sent


def test_a_user_creates_finds_and_pages_through_tasks(page: Page) -> None:
    script(page, "for (let n = 1; n < 12; n++) await api.createTask({ title: `Task ${n}` })")
    page.get_by_role("button", name="New task").click()
    editor = page.get_by_role("dialog")
    editor.get_by_role("textbox", name="Title").fill("Call <b>Bob</b>")
    tags = editor.get_by_role("textbox", name="Tags")
    tags.fill("phone, " + "long" * 20)
    editor.get_by_role("button", name="Save").click()
    expect(tags).to_have_js_property("validationMessage", "Must have 1 to 50 characters.")
    tags.fill("phone")
    editor.get_by_role("button", name="Save").click()

    first_page = ["Call <b>Bob</b>", *[f"Task {n}" for n in range(11, 2, -1)]]
    expect_titles(page, *first_page)
    page.get_by_role("button", name="Next page").click()
    expect_titles(page, "Task 2", "Task 1")
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    page.get_by_role("button", name="Previous page").click()
    expect_titles(page, *first_page)

    page.get_by_role("searchbox", name="Search").fill("bob")
    page.get_by_role("searchbox", name="Search").press("Enter")
    expect_titles(page, "Call <b>Bob</b>")
    page.get_by_role("search").get_by_role("combobox", name="Status").select_option("completed")
    expect_titles(page)
    expect(page.get_by_role("status")).to_have_text("There are no such tasks.")


def test_a_task_that_changed_meanwhile_is_not_overwritten(page: Page) -> None:
    created = "return (await api.createTask({ title: 'Call Bob', dueDate: '2030-12-01' })).task.id"
    task_id = script(page, created)
    page.reload()
    page.get_by_role("button", name="Edit Call Bob").click()
    editor = page.get_by_role("dialog")
    expect(editor.get_by_role("textbox", name="Due")).to_have_value("2030-12-01")
    script(page, "await api.updateTask(id, { description: 'Soon' }, '*')", id=task_id)
    editor.get_by_role("combobox", name="Status").select_option("completed")
    editor.get_by_role("button", name="Save").click()
    expect(editor.get_by_role("alert")).to_have_text("This task has changed since you opened it.")
    editor.get_by_role("button", name="Load the current version").click()
    expect(editor.get_by_role("textbox", name="Description")).to_have_value("Soon")
    editor.get_by_role("combobox", name="Status").select_option("completed")
    editor.get_by_role("button", name="Save").click()
    expect(page.get_by_role("list", name="Tasks")).to_contain_text("completed")
    task = script(page, "return (await api.getTask(id)).task", id=task_id)
    assert (task["description"], task["dueDate"]) == ("Soon", "2030-12-01")

    page.get_by_role("button", name="Edit Call Bob").click()
    editor.get_by_role("button", name="Delete").click()
    expect_titles(page)
    assert script(page, "await api.getTask(id)", id=task_id)["code"] == "task_not_found"


def test_requests_with_an_expired_token_share_one_refresh_and_are_sent_again(page: Page) -> None:
    token = script(page, "await api.refresh(); return api.accessToken")
    claims = jwt.decode(token, options={"verify_signature": False})
    expired = jwt.encode({**claims, "exp": time.time() - 1}, SECRET)
    sent = requests_of(page)
    at_once = """
        api.accessToken = expired;
        const created = [1, 2, 3].map((n) => api.createTask({ title: `Task ${n}` }));
        return (await Promise.all(created)).map(({ task }) => task.title);
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


def test_a_revocation_and_a_new_password_end_sessions(page: Page, open_tab: OpenTab) -> None:
    new_password = "another horse battery"
    revoked, outdated = open_tab(), open_tab()
    for other in (revoked, outdated):
        enter(other, "Log in")
        expect_member(other)
    page.locator("summary").click()
    sessions = page.get_by_role("list", name="Sessions").get_by_role("listitem")
    expect(sessions).to_have_count(3)
    page.get_by_role("button", name="Revoke").last.click()  # they are listed newest first
    expect(sessions).to_have_count(2)
    revoked.locator("summary").click()
    expect_stranger(revoked)
    expect(revoked.get_by_role("alert")).to_have_text("The session has ended.")
    revoked.reload()
    expect_stranger(revoked)
    outdated.reload()
    expect_member(outdated)

    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(new_password)
    page.get_by_role("button", name="Change password").click()
    expect(sessions).to_have_count(1)
    outdated.reload()
    expect_stranger(outdated)
    page.reload()
    expect_member(page)
    enter(outdated, "Log in")
    expect(outdated.get_by_role("alert")).to_contain_text("The email or password is wrong.")
    enter(outdated, "Log in", new_password)
    expect_member(outdated)


def test_a_page_can_read_errors_and_its_preflights_spend_no_budget(
    open_tab: OpenTab, frontend: str, config: Config
) -> None:
    limit = {"RATE_LIMIT": "5/minute", "CORS_ORIGINS": frontend}
    with serving(config.database_url or "", **limit) as service:
        page = open_tab(service=service)
        error = script(page, "await api.register('ann@example.com', 'short')")
        assert (error["status"], error["code"]) == (400, "validation_error")
        assert error["fields"] == {"password": "Must have 8 to 128 characters."}
        enter(page, "Register")
        expect_member(page)
        too_many = """
            await api.refresh();
            await Promise.allSettled([1, 2, 3, 4, 5].map((limit) => api.listTasks({ limit })));
            await api.updateTask("x", { title: "x" }, "*");
        """
        refused = script(page, too_many)
        assert (refused["status"], refused["code"]) == (429, "rate_limited")
        assert 0 < refused["retryAfter"] <= 60
        lines = [json.loads(line) for line in service.stop()]
    requests = [line for line in lines if line["logger"] == "taskflow.request"]
    assert refused["correlationId"] in {line["correlationId"] for line in requests}
    preflights = [line for line in requests if line["method"] == "OPTIONS"]
    assert {line["status"] for line in preflights} == {200}
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


def open_docs(page: Page, service: Service) -> list[str]:
    """Open the docs page, and return a list that fills with the messages of its console."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"http://localhost:{service.port}/")  # which leads there
    expect(page).to_have_url(f"http://localhost:{service.port}/docs")
    return said


def execute(page: Page, name: str) -> Locator:
    """Execute an operation on the docs page with its example, and return the answer's status."""
    operation = page.locator(f"[id^=operations-][id$=-{name}]")
    operation.locator(".opblock-summary").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    return operation.locator(".live-responses-table tbody .response-col_status")


def test_the_docs_page_executes_a_request_and_contacts_no_other_host(
    page: Page, service: Service
) -> None:
    token = script(page, "await api.refresh(); return api.accessToken")
    sent = requests_of(page)
    said = open_docs(page, service)
    page.get_by_role("button", name="Authorize").first.click()
    bearer = page.locator(".auth-container", has_text="bearerAuth")
    bearer.get_by_role("textbox").fill(token)
    bearer.get_by_role("button", name="Apply credentials").click()
    page.locator(".close-modal").click()
    expect(execute(page, "listTasks")).to_contain_text("200")
    [executed] = [request for request in sent if "/api/v1/tasks" in request.url]
    assert executed.headers["authorization"] == f"Bearer {token}"
    assert {request.url.split("/")[2] for request in sent} == {f"localhost:{service.port}"}
    assert said == []  # for example a violation of the page's policy


def test_the_docs_page_changes_data_with_the_cookies_of_a_session(
    open_tab: OpenTab, service: Service
) -> None:
    page = open_tab()
    said = open_docs(page, service)
    expect(execute(page, "register")).to_contain_text("201")
    sent = requests_of(page)
    expect(execute(page, "createTask")).to_contain_text("201")
    [created] = [request for request in sent if request.url.endswith("/tasks")]
    assert "authorization" not in created.headers
    assert created.headers["x-csrf-token"]
    page.reload()  # the document loads with the cookies, too
    expect(execute(page, "logout")).to_contain_text("204")
    assert said == []


def test_the_docs_page_shows_the_routes_first(page: Page, service: Service) -> None:
    page.set_viewport_size({"width": 1280, "height": 720})
    open_docs(page, service)
    for name in ("register", "login", "refresh", "logout"):
        expect(page.locator(f"#operations-auth-{name}")).to_be_in_viewport()


def test_the_docs_page_follows_the_browsers_color_scheme(page: Page, service: Service) -> None:
    open_docs(page, service)
    body = page.locator("#api .swagger-ui")
    page.emulate_media(color_scheme="dark")
    expect(body).to_have_css("background-color", "rgb(28, 32, 34)")
    page.emulate_media(color_scheme="light")
    expect(body).to_have_css("background-color", "rgba(0, 0, 0, 0)")
