"""The example frontend is a to-do app that works in a real browser."""

import re
import time
from datetime import date, timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.support.browser import (
    OpenTab,
    checkbox,
    create_tasks,
    expect_member,
    expect_titles,
    log_in,
    register,
    requests_of,
    script,
)


def view(page: Page, name: str) -> Locator:
    """Return the link to a view, whose text ends with a count."""
    return page.get_by_role("navigation").get_by_role("link", name=re.compile(f"^{name} ?\\d*$"))


def toast(page: Page) -> Locator:
    return page.locator("#toast")


class Held:
    """Holds back the requests to an address until `let_go` is called."""

    def __init__(self, page: Page, address: str) -> None:
        self._page = page
        self.routes: list[Route] = []
        page.route(address, lambda route: self.routes.append(route))

    def first(self) -> Route:
        """Wait for the first request."""
        while not self.routes:
            self._page.wait_for_timeout(20)
        return self.routes[0]

    def let_go(self) -> None:
        self.first().continue_()
        self._page.unroute_all()


def many(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"title": f"Task {n}", **fields} for n in range(1, count + 1)]


def test_a_title_and_enter_add_one_task(page: Page) -> None:
    expect(page.get_by_text("Nothing to do yet. Add your first task above.")).to_be_visible()
    field = page.get_by_role("textbox", name="New task")
    field.fill("Call <b>Bob</b>")
    field.press("Enter")
    field.press("Enter")
    expect_titles(page, "Call <b>Bob</b>")
    expect(field).to_have_value("")
    expect(field).to_be_focused()
    field.fill("قراءة الفصل")
    field.press("Enter")
    expect_titles(page, "قراءة الفصل", "Call <b>Bob</b>")
    expect(page.locator("#list .title").first).to_have_css("direction", "rtl")
    assert len(script(page, "return (await api.listTasks()).data")) == 2


def test_a_new_task_fits_the_view_that_it_is_added_in(page: Page) -> None:
    create_tasks(page, {"title": "Report", "tags": ["work"]})
    page.get_by_role("link", name="work 1").click()
    page.get_by_role("textbox", name="New task").fill("Call Bob")
    page.get_by_role("textbox", name="New task").press("Enter")
    expect_titles(page, "Call Bob", "Report")
    view(page, "Today").click()
    page.get_by_role("textbox", name="New task").fill("Buy milk")
    page.get_by_role("button", name="Add").click()
    expect_titles(page, "Buy milk")
    expect(page.locator("#list .due")).to_have_text("Today")


def test_one_click_completes_a_task_before_the_answer(page: Page) -> None:
    [task] = create_tasks(page, {"title": "Buy milk"})
    expect(view(page, "To do")).to_have_text("To do 1")
    held = Held(page, f"**/tasks/{task['id']}")
    checkbox(page, "Buy milk").click()
    expect(checkbox(page, "Buy milk")).to_be_checked()
    expect(page.locator("#list li")).to_have_attribute("data-status", "completed")
    checkbox(page, "Buy milk").click()  # which waits for the answer
    expect(checkbox(page, "Buy milk")).not_to_be_checked()
    assert held.first().request.headers["if-match"] == f'"{task["version"]}"'
    assert len(held.routes) == 1
    held.let_go()
    expect(view(page, "To do")).to_have_text("To do 1")
    expect(checkbox(page, "Buy milk")).not_to_be_checked()
    checkbox(page, "Buy milk").click()
    expect(view(page, "Completed")).to_have_text("Completed 1")


def test_a_refused_completion_is_undone_with_a_message(page: Page) -> None:
    [task] = create_tasks(page, {"title": "Buy milk"})
    page.route("**/tasks/changes*", lambda route: route.abort())  # the page learns nothing more
    script(page, "await api.updateTask({ id }, { description: 'Oat' })", id=task["id"])
    checkbox(page, "Buy milk").click()
    expect(toast(page)).to_contain_text("was not completed. It has changed elsewhere.")
    expect(checkbox(page, "Buy milk")).not_to_be_checked()
    page.unroute_all()
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#list .description")).to_have_text("Oat")
    checkbox(page, "Buy milk").click()
    expect(view(page, "Completed")).to_have_text("Completed 1")


def test_a_task_is_edited_in_its_row(page: Page) -> None:
    [task] = create_tasks(page, {"title": "Call Bob", "dueDate": "2030-12-01"})
    page.get_by_role("button", name="Edit Call Bob").click()
    editor = page.locator(".editor")
    expect(editor.get_by_label("Title")).to_be_focused()
    expect(editor.get_by_label("Due")).to_have_value("2030-12-01")
    editor.get_by_label("Tags").fill("phone, " + "long" * 20)
    editor.get_by_role("button", name="Save").click()
    message = "Must have 1 to 50 characters."
    expect(editor.get_by_label("Tags")).to_have_js_property("validationMessage", message)
    editor.get_by_label("Tags").fill("phone, work")
    editor.get_by_label("Time").fill("14:30")
    editor.get_by_label("Priority").select_option("high")
    sent = requests_of(page)
    editor.get_by_label("Title").press("Enter")
    expect(page.locator("#list .meta")).to_contain_text("High priority")
    expect(page.get_by_role("button", name="Edit Call Bob")).to_be_focused()
    [saved] = [request for request in sent if request.method == "PATCH"]
    assert saved.post_data_json == {
        "priority": "high", "tags": ["phone", "work"], "dueDate": "2030-12-01T14:30:00.000Z",
    }  # fmt: skip
    assert saved.headers["if-match"] == f'"{task["version"]}"'


def test_escape_asks_before_it_drops_a_draft(page: Page) -> None:
    create_tasks(page, {"title": "Call Bob"})
    page.locator("#list .title").click()
    page.keyboard.press("Escape")
    expect(page.locator(".editor")).to_have_count(0)
    expect(page.get_by_role("button", name="Edit Call Bob")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.type(" and Eve")
    page.keyboard.press("Escape")
    expect(page.locator(".editor [role=alert]")).to_have_text("Your changes are not saved yet.")
    view(page, "Today").click()  # the draft stays in any view
    expect(page.locator(".editor").get_by_label("Title")).to_have_value("Call Bob and Eve")
    page.get_by_role("button", name="Log out").click()
    expect_member(page)
    page.get_by_role("button", name="Discard changes").click()
    expect(page.locator(".editor")).to_have_count(0)


def test_an_edit_of_a_task_that_changes_meanwhile_loses_nothing(page: Page) -> None:
    [task] = create_tasks(page, {"title": "Call Bob"})
    page.get_by_role("button", name="Edit Call Bob").click()
    editor = page.locator(".editor")
    editor.get_by_label("Title").fill("Call Eve")
    elsewhere = "await api.updateTask({ id }, { description: 'Soon' })"
    script(page, elsewhere, id=task["id"])
    editor.get_by_role("button", name="Save").click()
    expect(editor.get_by_role("alert")).to_contain_text("This task has changed elsewhere.")
    editor.get_by_role("button", name="Save").click()
    expect_titles(page, "Call Eve")
    expect(page.locator("#list .description")).to_have_text("Soon")

    page.get_by_role("button", name="Edit Call Eve").click()
    editor.get_by_label("Title").fill("Call nobody")
    script(page, elsewhere.replace("Soon", "Now"), id=task["id"])
    editor.get_by_role("button", name="Load the current version").click()
    expect(editor.get_by_label("Notes")).to_have_value("Now")
    expect(editor.get_by_label("Title")).to_have_value("Call Eve")


def test_the_address_contains_the_filters(page: Page) -> None:
    create_tasks(
        page,
        {"title": "Buy milk", "tags": ["errands"], "description": "from oats"},
        {"title": "Report", "status": "in_progress", "priority": "high"},
        {"title": "Book a table", "status": "completed"},
    )
    expect(view(page, "All tasks")).to_have_text("All tasks 3")
    view(page, "In progress").click()
    expect_titles(page, "Report")
    assert "view=in_progress" in page.url
    page.reload()
    expect_titles(page, "Report")
    page.go_back()
    expect_titles(page, "Book a table", "Report", "Buy milk")
    page.get_by_role("searchbox", name="Search").fill("OAT milk")
    expect_titles(page, "Buy milk")
    assert "q=OAT+milk" in page.url
    page.get_by_role("combobox", name="Priority").select_option("high")
    expect(page.get_by_text("No task matches")).to_be_visible()
    page.get_by_role("link", name="Show all tasks").click()
    page.get_by_role("combobox", name="Sort by").select_option("title")
    expect_titles(page, "Book a table", "Buy milk", "Report")
    page.get_by_role("link", name="errands 1").click()
    expect(page.get_by_role("heading", name="errands")).to_be_visible()
    expect_titles(page, "Buy milk")


def test_completed_tasks_are_cleared_in_one_request_and_can_return(page: Page) -> None:
    create_tasks(page, *many(25, status="completed"), {"title": "Buy milk"})
    sent = requests_of(page)
    page.get_by_role("button", name="Clear 25 completed").click()
    expect_titles(page, "Buy milk")
    expect(view(page, "Completed")).to_have_text("Completed 0")
    writes = [request.url.rsplit("/", 1)[1] for request in sent if request.method == "POST"]
    assert writes == ["batch"]
    toast(page).get_by_role("button", name="Undo").click()
    expect(view(page, "Completed")).to_have_text("Completed 25")


def test_the_keyboard_alone_deletes_and_undoes(page: Page) -> None:
    create_tasks(page, *many(3))
    page.get_by_role("button", name="Delete Task 2").focus()
    page.keyboard.press("Enter")
    expect_titles(page, "Task 3", "Task 1")
    expect(page.get_by_role("button", name="Delete Task 1")).to_be_focused()
    page.keyboard.press("Control+z")
    expect_titles(page, "Task 3", "Task 2", "Task 1")
    expect(checkbox(page, "Task 2")).to_be_focused()
    view(page, "To do").focus()
    page.keyboard.press("Enter")
    checkbox(page, "Task 3").focus()
    page.keyboard.press("Space")
    expect_titles(page, "Task 2", "Task 1")
    expect(checkbox(page, "Task 2")).to_be_focused()
    page.locator("#email").focus()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_a_double_click_deletes_one_task(page: Page) -> None:
    create_tasks(page, *many(3))
    page.get_by_role("button", name="Delete Task 3").dblclick()
    expect_titles(page, "Task 2", "Task 1")
    expect(view(page, "All tasks")).to_have_text("All tasks 2")


def test_next_and_previous_keep_their_place_and_the_focus(page: Page) -> None:
    create_tasks(page, *many(45))
    following = page.get_by_role("button", name="Next page")
    following.dblclick()
    expect_titles(page, "Task 5", "Task 4", "Task 3", "Task 2", "Task 1")
    expect(following).to_be_focused()
    expect(following).to_have_attribute("aria-disabled", "true")
    following.click(force=True)
    page.get_by_role("button", name="Previous page").click()
    expect(page.locator("#range")).to_contain_text("40 of 45")
    page.reload()
    expect(page.locator("#range")).to_contain_text("40 of 45")


@pytest.mark.parametrize(
    ("timezone", "today", "overdue"),
    [
        pytest.param(
            "Pacific/Kiritimati", ["Day 2", "Instant"], ["Day 1"], id="ahead of UTC by 14 hours"
        ),
        pytest.param("Pacific/Pago_Pago", ["Day 1", "Instant"], [], id="behind UTC by 11 hours"),
    ],
)
def test_today_and_overdue_follow_the_browsers_time_zone(
    open_tab: OpenTab, timezone: str, today: list[str], overdue: list[str]
) -> None:
    page = open_tab(timezone=timezone)
    page.clock.set_fixed_time("2030-06-01T11:00:00Z")
    register(page)
    create_tasks(
        page,
        {"title": "Instant", "dueDate": "2030-06-01T11:30:00Z"},
        {"title": "Day 2", "dueDate": "2030-06-02"},
        {"title": "Day 1", "dueDate": "2030-06-01"},
    )
    page.get_by_role("combobox", name="Sort by").select_option("title")
    view(page, "Today").click()
    expect_titles(page, *today)
    expect(view(page, "Today")).to_have_text(f"Today {len(today)}")
    view(page, "Overdue").click()
    expect_titles(page, *overdue)
    colors = page.locator("#list .due").evaluate_all(
        "all => all.map(e => getComputedStyle(e).color)"
    )
    assert colors == ["rgb(179, 38, 30)"] * len(overdue)


def test_a_second_tab_follows_within_five_seconds(page: Page, open_tab: OpenTab) -> None:
    other = open_tab()
    log_in(other)
    expect_member(other)
    statuses: list[int] = []
    other.on("response", lambda r: "/changes" in r.url and statuses.append(r.status))
    field = page.get_by_role("textbox", name="New task")
    field.fill("Buy milk")
    field.press("Enter")
    expect_titles(page, "Buy milk")
    began = time.monotonic()
    expect_titles(other, "Buy milk")
    expect(view(other, "To do")).to_have_text("To do 1")
    assert time.monotonic() - began < 5
    other.evaluate("dispatchEvent(new Event('online'))")
    other.wait_for_timeout(200)
    other.evaluate("dispatchEvent(new Event('online'))")
    other.wait_for_timeout(200)
    assert statuses[-1] == 304


def test_a_lost_connection_is_shown_until_it_is_back(page: Page) -> None:
    create_tasks(page, {"title": "Buy milk"})
    page.context.set_offline(True)
    checkbox(page, "Buy milk").click()
    expect(toast(page)).to_contain_text("was not completed. The service can't be reached.")
    expect(checkbox(page, "Buy milk")).not_to_be_checked()
    expect(page.locator("#banner")).to_contain_text("The service can't be reached. Trying again")
    page.context.set_offline(False)
    expect(page.locator("#banner")).to_be_hidden()


def test_the_page_says_that_it_is_loading(page: Page) -> None:
    held = Held(page, "**/tasks/changes*")
    page.reload()
    expect(page.locator("#empty")).to_have_text(re.compile("Loading your tasks …"))
    held.let_go()
    expect(page.get_by_text("Nothing to do yet")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390])
def test_a_narrow_page_cuts_nothing_off(open_tab: OpenTab, width: int) -> None:
    page = open_tab()
    page.set_viewport_size({"width": width, "height": 800})
    register(page, f"{'long' * 15}@{'example.' * 6}com")
    day = (date.today() - timedelta(1)).isoformat()
    create_tasks(page, {"title": "W" * 200, "tags": ["W" * 50] * 1, "dueDate": day})
    page.locator("#list [data-act=edit]").click()
    for where in ("the tasks", "the account"):
        assert page.evaluate("document.documentElement.scrollWidth") <= width, where
        for control in page.locator("main :is(input, select, button):visible").all():
            box = control.bounding_box()
            assert box, where
            assert box["x"] >= 0, where
            assert box["x"] + box["width"] <= width, where
        page.locator("#email").click()


def test_the_page_respects_a_preference_for_reduced_motion(page: Page) -> None:
    create_tasks(page, {"title": "Buy milk"})
    row = page.locator("#list li")
    expect(row).to_have_css("animation-name", "appear")
    page.emulate_media(reduced_motion="reduce")
    expect(row).to_have_css("animation-name", "none")
