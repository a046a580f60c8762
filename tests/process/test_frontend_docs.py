"""The code in docs/frontend.md works in a browser, and the page names every error."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page

from taskflow.errors import CATALOG
from tests.support.browser import OpenTab, requests_of
from tests.support.service import ROOT, Service

DOCUMENT = (ROOT / "docs/frontend.md").read_text()
CODE = "\n".join(re.findall(r"^```js\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE))
SIGN_IN = "await register('ann@example.com', 'correct horse battery');"


@pytest.fixture
def tab(open_tab: OpenTab) -> Page:
    """Return a page, of which the code uses only the origin."""
    tab = open_tab()
    tab.goto(tab.url.replace("/?", "/style.css?"))
    return tab


def run(page: Page, service: Service, code: str) -> Any:
    """Run the document's code and then some more, and return its result."""
    document = CODE.replace("http://localhost:3000", f"http://localhost:{service.port}")
    return page.evaluate(f"""async () => {{
        const told = [];
        let rendered = 0;
        let asked = 0;
        const render = () => rendered++;
        const showLogin = () => asked++;
        const fields = ({{ details = [] }}) => details.map(({{ field }}) => field);
        const tell = (error) => told.push([error.code, ...fields(error)]);
        {document}
        {code}
    }}""")


def test_requests_share_a_refresh_and_survive_a_reload(tab: Page, service: Service) -> None:
    run(tab, service, SIGN_IN)
    sent = requests_of(tab)
    both = 'return Promise.all([call("GET", "/tasks"), call("GET", "/auth/me")])'
    assert [answer["status"] for answer in run(tab, service, both)] == [200, 200]
    assert len([request for request in sent if request.url.endswith("/auth/refresh")]) == 1


def test_the_sync_loop_follows_changes_until_the_session_ends(tab: Page, service: Service) -> None:
    code = f"""
        {SIGN_IN}
        const create = Array.from({{ length: 100 }}, (_, n) => ({{ title: `Task ${{n}}` }}));
        const {{ data }} = await call("POST", "/tasks/batch", {{ body: {{ create }} }});
        await call("POST", "/tasks", {{ body: {{ title: "Last" }} }});
        await sync(); // two pages
        const first = tasks.size;
        await call("DELETE", `/tasks/${{data.created[0].id}}`);
        await sync();
        const second = tasks.size;
        await sync();
        const before = rendered;
        await sync(); // 304
        const quiet = before === rendered;
        since = "?since=damaged";
        await follow();
        await sync();
        const third = tasks.size;
        const headers = {{ "X-CSRF-Token": localStorage.getItem("csrf") }};
        await send("POST", "/auth/logout", {{ headers }});
        await follow();
        return {{ first, second, third, quiet, asked }};
    """
    assert run(tab, service, code) == {
        "first": 101, "second": 100, "third": 100, "quiet": True, "asked": 1,
    }  # fmt: skip


def test_a_refused_completion_is_undone(tab: Page, service: Service) -> None:
    code = f"""
        {SIGN_IN}
        const {{ data: task }} = await call("POST", "/tasks", {{ body: {{ title: "Buy milk" }} }});
        await complete(task);
        const first = tasks.get(task.id).status;
        await complete(task); // its version is an old one by now
        return [first, tasks.get(task.id).status, told];
    """
    assert run(tab, service, code) == ["completed", "pending", [["precondition_failed"]]]


def test_the_queue_is_sent_once_the_network_is_back(tab: Page, service: Service) -> None:
    run(tab, service, SIGN_IN)
    tab.context.set_offline(True)
    offline = """
        await enqueue({ create: [{ title: "Buy milk" }] });
        await enqueue({ delete: [{ id: "unknown" }] });
        await enqueue({ create: [{ title: "Call Bob" }] });
        return readQueue().length;
    """
    assert run(tab, service, offline) == 3
    lost: list[str] = []
    tab.route("**/tasks/batch", lambda route: (lost.append(route.fetch().text()), route.abort()))
    tab.context.set_offline(False)
    assert run(tab, service, "await flush(); return readQueue().length") == 3
    assert "Buy milk" in lost[0]  # done, but the page does not know
    tab.unroute_all()
    online = """
        await flush();
        await sync();
        return [readQueue(), told, [...tasks.values()].map(({ title }) => title)];
    """
    refused = ["task_not_found", "delete.0.id"]
    assert run(tab, service, online) == [[], [refused], ["Buy milk", "Call Bob"]]


@pytest.mark.parametrize(
    ("timezone", "expected"),
    [
        pytest.param("Pacific/Kiritimati", [False, True, True, True], id="ahead of UTC"),
        pytest.param("Pacific/Pago_Pago", [True, False, True, False], id="behind UTC"),
    ],
)
def test_a_plain_day_is_today_in_the_browsers_time_zone(
    open_tab: OpenTab, service: Service, timezone: str, expected: list[bool]
) -> None:
    tab = open_tab(timezone=timezone)
    tab.clock.set_fixed_time("2030-06-01T11:00:00Z")
    code = """
        const due = (dueDate) => ({ dueDate, status: "pending" });
        const [first, second] = [due("2030-06-01"), due("2030-06-02")];
        const instant = due("2030-06-01T11:30:00+00:00");
        return [isToday(first), isToday(second), isToday(instant), isOverdue(first)];
    """
    assert run(tab, service, code) == expected


def test_parameters_are_encoded_and_repeated(tab: Page, service: Service) -> None:
    body = '{ title: "Read", tags: ["c++", "work"], dueDate: "2026-12-01" }'
    code = f"""
        {SIGN_IN}
        await call("POST", "/tasks", {{ body: {body} }});
        return (await findTasks()).data.data.length;
    """
    assert run(tab, service, code) == 1


def test_the_sync_loop_has_twenty_lines() -> None:
    loop = CODE[CODE.index("async function sync()") : CODE.index("async function follow()")]
    assert len(loop.strip().splitlines()) <= 20


def test_every_error_has_advice() -> None:
    table = DOCUMENT.split("## What each error asks of the page")[1]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))))
    assert set(CATALOG) - named == set()
