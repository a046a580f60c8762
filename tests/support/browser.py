"""Steps in the example frontend that several tests share."""

from typing import Any, Protocol

from playwright.sync_api import Locator, Page, Request, expect

from tests.support.credentials import PASSWORD
from tests.support.service import Service

EMAIL = "ann@example.com"
expect.set_options(timeout=20_000)


class OpenTab(Protocol):
    """Opens the example in a new browser, or in a tab beside another."""

    def __call__(
        self,
        beside: Page | None = None,
        origin: str = "",
        service: Service | None = None,
        timezone: str = "UTC",
    ) -> Page:
        """Return the page."""


def register(page: Page, email: str = EMAIL) -> None:
    """Create an account, and wait until the page shows its tasks."""
    page.get_by_role("button", name="Create an account").click()
    _enter(page, "Register", email, PASSWORD)
    expect(page.locator("#nav")).to_be_visible()


def log_in(page: Page, password: str = PASSWORD, email: str = EMAIL) -> None:
    """Log in."""
    _enter(page, "Log in", email, password)


def _enter(page: Page, button: str, email: str, password: str) -> None:
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name=button, exact=True).click()


def expect_member(page: Page) -> None:
    """Wait until the page shows the user."""
    expect(page.get_by_role("banner")).to_contain_text(EMAIL)


def expect_stranger(page: Page, timeout: float | None = None) -> None:
    """Wait until the page asks to log in."""
    expect(page.get_by_role("heading", name="Log in")).to_be_visible(timeout=timeout)


def expect_titles(page: Page, *titles: str) -> None:
    """Wait until the list shows these titles."""
    expect(page.locator("#list .title")).to_have_text(list(titles))


def checkbox(page: Page, title: str) -> Locator:
    """Return the checkbox of a task."""
    return page.get_by_role("checkbox", name=title, exact=True)


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


def create_tasks(page: Page, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
    """Create tasks by the API, wait until the page shows the last one, and return the tasks."""
    created = script(
        page,
        """
        const made = [];
        for (let at = 0; at < tasks.length; at += 100) {
            made.push(...(await api.batch({ create: tasks.slice(at, at + 100) })).created);
        }
        dispatchEvent(new Event("online")); // synchronize now
        return made;
        """,
        tasks=tasks,
    )
    assert isinstance(created, list), created
    expect(page.locator(f"[data-key='{created[-1]['id']}']")).to_be_visible()
    return created


def requests_of(page: Page) -> list[Request]:
    """Return a list that collects the requests that the page sends from now on."""
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))
    return sent
