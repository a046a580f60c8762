"""README.md and the pages in docs/ agree with the code and with each other."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from flask import Flask
from werkzeug.serving import make_server

from taskflow.config import load_config
from taskflow.errors import CATALOG
from tests.support.credentials import SECRET
from tests.support.service import ROOT, procfile
from tests.support.text import same

README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
STEP = re.compile(r"```sh\n((?:(?!```).)*)```\n\n```(?:json|http)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_tour_prints_the_answers_that_it_shows(
    app_with: Callable[..., Flask], tmp_path: Path
) -> None:
    tour = README + (DOCS / "api.md").read_text()
    steps = STEP.findall(tour)
    assert len(steps) == 12
    app = app_with(max_tasks_per_user=1000)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever).start()
    try:
        shown = [comparable(answer) for _, answer in steps]
        assert run_tour([commands for commands, _ in steps], server.port, tmp_path) == shown
    finally:
        server.shutdown()


def run_tour(steps: list[str], port: int, folder: Path) -> list[Any]:
    """Run the steps in one shell, and return the output of each."""
    script = "\necho; echo @@\n".join(steps).replace(":3000", f":{port}")
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.stderr == ""
    return [comparable(part) for part in done.stdout.split("@@")]


def comparable(text: str) -> list[Any]:
    """Return the JSON values of a text, or its words, without values that differ between runs."""
    values, rest = [], text.strip()
    while rest:
        try:
            value, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:  # such as a header
            return same(text).split()
        compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        values.append(json.loads(same(compact)))
        rest = rest[end:].lstrip()
    return values


def test_the_readme_has_at_most_200_lines() -> None:
    assert len(README.splitlines()) <= 200


def links() -> list[tuple[Path, str]]:
    """Return every relative link of the pages, with its page."""
    found = [(page, link) for page in PAGES for link in LINK.findall(prose(page))]
    return [(page, link) for page, link in found if not link.startswith(("http:", "https:"))]


def prose(page: Path) -> str:
    return CODE_BLOCK.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = [re.sub(r"[^\w\- ]", "", found.lower()) for found in HEADING.findall(prose(page))]
    return {heading.replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    ("page", "link"),
    [pytest.param(page, link, id=f"{page.name} to {link}") for page, link in links()],
)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


def test_the_readme_links_to_every_page() -> None:
    linked = {(page.parent / link.partition("#")[0]).resolve() for page, link in links()}
    assert set(DOCS.glob("*.md")) <= linked
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} <= set(LINK.findall(README))


def test_the_errors_page_lists_every_error_code() -> None:
    page = (DOCS / "errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+?) \| .+ \|$", page, re.MULTILINE)
    assert {code: (int(status), text) for code, status, text in rows} == {
        code: (int(problem.status), problem.message) for code, problem in CATALOG.items()
    }
    example = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])["error"]
    assert example["message"] == CATALOG[example["code"]].message


def configuration_table() -> dict[str, tuple[str, str]]:
    """Return the defaults of development and of production that the page lists."""
    page = (DOCS / "configuration.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) ?\| (.*?) ?\| .+ \|$", page, re.MULTILINE)
    return {name: (development, production) for name, development, production in rows}


def test_the_configuration_page_lists_every_variable() -> None:
    code = (ROOT / "taskflow/config.py").read_text()
    names = set(re.findall(r'"([A-Z]+_[A-Z_]+|PORT)"', code)) - {"PGSSLMODE"}
    assert len(names) > 12
    assert names <= set(configuration_table())


def test_the_configuration_page_shows_the_defaults() -> None:
    required = {"DATABASE_URL": "postgresql://localhost/taskflow", "JWT_SECRET": SECRET}
    defaults = load_config(False, {}), load_config(True, required)
    # These are required in production.
    production = replace(defaults[1], database_url="required", jwt_secret="required")
    for name, (shown, shown_in_production) in configuration_table().items():
        if hasattr(production, name.lower()):
            assert shown.strip("`") in ("", as_shown(getattr(defaults[0], name.lower()))), name
            value = as_shown(getattr(production, name.lower()))
            assert shown_in_production.strip("`") == value, name


def as_shown(value: Any) -> str:
    """Return a default as the page shows it."""
    if value is True:
        return "on"
    return str(value) if value or value == 0 else "\N{EN DASH}"


def test_every_path_of_the_layout_exists() -> None:
    layout = README.partition("## Layout")[2].partition("## Documentation")[0]
    names = re.findall(r"`([\w.]+/[\w./]*|\w[\w.]*\.\w+|Procfile)`", layout)
    assert len(names) > 20
    for name in names:
        places = (ROOT / name, ROOT / "taskflow/auth" / name)
        assert any(place.exists() for place in places), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    folders = "taskflow|tests|docs|examples|bench|server"
    for name in re.findall(rf"`((?:{folders})/[\w./]*)`", page.read_text()):
        assert (ROOT / name).exists(), name


def test_every_make_target_is_documented() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    page = (DOCS / "development.md").read_text()
    assert set(targets) <= set(re.findall(r"^\| `make ([a-z-]+)` \|", page, re.MULTILINE))


def test_every_platform_runs_the_commands_of_the_procfile() -> None:
    deploy = (DOCS / "deploying.md").read_text()

    def block(language: str) -> str:
        [text] = re.findall(rf"```{language}\n(.*?)```", deploy, re.DOTALL)
        return text

    release, web = procfile("release"), procfile("web")
    [render] = yaml.safe_load(block("yaml"))["services"]
    assert (render["preDeployCommand"], render["startCommand"]) == (release, web)
    fly = tomllib.loads(block("toml"))
    assert (fly["deploy"]["release_command"], fly["processes"]["app"]) == (release, web)
    railway = json.loads(block("json"))["deploy"]
    assert (railway["preDeployCommand"], railway["startCommand"]) == ([release], web)
    drains = fly["kill_timeout"], railway["drainingSeconds"], render["maxShutdownDelaySeconds"]
    conf = (ROOT / "gunicorn.conf.py").read_text()
    [graceful] = re.findall(r"^graceful_timeout = (\d+)$", conf, re.MULTILINE)
    assert all(seconds > int(graceful) for seconds in drains)
    assert f"for up to {graceful} seconds" in deploy
    [keepalive] = re.findall(r"^keepalive = (\d+)$", conf, re.MULTILINE)
    assert f"kept for {keepalive} s" in deploy
    assert fly["http_service"]["internal_port"] == load_config(False, {}).port


def test_every_test_that_the_security_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "security.md").read_text()))
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 40
    assert named <= set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))


def test_the_operations_page_lists_every_alert() -> None:
    alerts = re.findall(r"alert: (\w+)", (ROOT / "examples/alerts.yml").read_text())
    page = (DOCS / "operations.md").read_text()
    assert re.findall(r"^\| `(TaskFlow\w+)` \|", page, re.MULTILINE) == alerts
