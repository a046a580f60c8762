"""The example frontend passes axe and TypeScript, and its screenshots can be taken."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import OpenTab, create_tasks, register
from tests.support.images import shrink_png
from tests.support.service import ROOT

TASKS: list[dict[str, Any]] = [
    {"title": "Book a table for Friday", "status": "completed", "tags": ["friends"]},
    {"title": "Plan the offsite", "tags": ["work"], "dueDate": "2026-12-08"},
    {"title": "Return the library books", "tags": ["errands"], "dueDate": "2026-11-25"},
    {
        "title": "Call Bob about the contract",
        "description": "Ask for the new terms, and whether we may begin in January.",
        "priority": "high",
        "tags": ["phone", "work"],
        "dueDate": "2026-11-26",
    },
    {"title": "Write the quarterly report", "status": "in_progress", "tags": ["work"]},
    {"title": "Buy milk", "tags": ["errands"], "dueDate": "2026-11-27"},
]
SIZES = {"frontend": (1280, 720), "frontend-narrow": (390, 720)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with axe, TypeScript and the frontend."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("checks") / "checks"
    shutil.copytree(ROOT / "tests/process/frontend", folder)
    shutil.copytree(ROOT / "examples/frontend", folder / "frontend")
    done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def page(open_tab: OpenTab) -> Page:
    """Return a page with tasks, on a fixed day."""
    page = open_tab()
    page.clock.set_fixed_time("2026-11-26T09:00:00Z")
    register(page)
    create_tasks(page, *TASKS)
    expect(page.locator("#capacity")).to_contain_text("6 of")
    return page


@pytest.fixture
def axe(page: Page, folder: Path) -> None:
    """Load axe into the page."""
    page.evaluate((folder / "node_modules/axe-core/axe.min.js").read_text())


def violations(page: Page) -> list[str]:
    """Return what axe finds, in both color schemes and at both widths."""
    found = []
    for scheme in ("light", "dark"):
        for width in (390, 1280):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.set_viewport_size({"width": width, "height": 800})
            for violation in page.evaluate("axe.run()")["violations"]:
                where = [node["html"] for node in violation["nodes"]]
                found.append(f"{scheme}, {width}, {violation['impact']}: {violation['id']} {where}")
    return found


def test_axe_finds_nothing(page: Page, axe: None) -> None:
    assert violations(page) == []
    page.get_by_role("button", name="Edit Call Bob").click()
    page.keyboard.type("!")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Discard changes")).to_be_visible()
    page.get_by_role("button", name="Delete Buy milk").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Discard changes").click()
    page.get_by_role("searchbox", name="Search").fill("nothing")
    expect(page.get_by_text("No task matches")).to_be_visible()
    assert violations(page) == []
    page.locator("#email").click()
    expect(page.get_by_text("This browser")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="Create an account").click()
    assert violations(page) == []


def test_axe_finds_a_mistake(page: Page, axe: None) -> None:
    page.evaluate("document.querySelector('#list [type=checkbox]').ariaLabel = null")
    assert "critical: label" in violations(page)[0]


def test_the_types_of_the_frontend_are_right(folder: Path) -> None:
    done = subprocess.run(["npx", "tsc"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.skipif("SCREENSHOTS" not in os.environ, reason="SCREENSHOTS is not set")
@pytest.mark.parametrize("name", SIZES)
def test_a_screenshot_is_small(page: Page, name: str) -> None:
    width, height = SIZES[name]
    path = ROOT / "docs/images" / f"{name}.png"
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": height})
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    path.write_bytes(shrink_png(page.screenshot()))
    assert path.stat().st_size < 60_000
