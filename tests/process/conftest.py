"""Fixtures of the tests in a real browser, with the example frontend on its own origin."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from app import serve_frontend
from taskflow.config import Config
from tests.support.browser import OpenTab, register
from tests.support.service import Service, serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        flags = ["--disable-gpu", "--disable-quic", "--disable-lcd-text"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
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
        beside: Page | None = None,
        origin: str = frontend,
        service: Service | None = None,
        timezone: str = "UTC",
    ) -> Page:
        if beside is None:
            contexts.append(browser.new_context(timezone_id=timezone))
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
    register(page)
    return page
