"""The page of the interactive documentation works in a real browser."""

from playwright.sync_api import Locator, Page, expect

from tests.support.browser import OpenTab, requests_of, script
from tests.support.service import Service


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
