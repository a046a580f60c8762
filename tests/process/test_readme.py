"""The README's tour does what it says; its tables, and those of docs/, are those of the code."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from taskflow.config import Config, load_config
from taskflow.errors import CATALOG
from tests.support.service import ROOT, Service, procfile, serving
from tests.support.text import same

README = (ROOT / "README.md").read_text()
STEP = re.compile(r"```sh\n((?:(?!```).)*)```\n\n```(?:json|http)\n(.*?)```", re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_tour_prints_the_answers_that_it_shows(config: Config, tmp_path: Path) -> None:
    steps = STEP.findall(README)
    assert len(steps) == 10
    with serving(config.database_url or "") as service:
        shown = [same(answer) for _, answer in steps]
        assert run_tour([commands for commands, _ in steps], service, tmp_path) == shown


def run_tour(steps: list[str], service: Service, folder: Path) -> list[str]:
    """Run the steps in one shell, and give what each prints."""
    script = "\necho; echo @@\n".join(steps).replace(":3000", f":{service.port}")
    # Production marks cookies Secure: curl keeps them, and sends them to localhost only by TLS.
    script = script.replace("-b jar", "-b <(sed s/TRUE/FALSE/g jar)")
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.stderr == ""
    return [same(part) for part in done.stdout.split("@@")]


def test_the_readme_lists_every_error_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+?) \|$", README, re.MULTILINE)
    assert {code: (int(status), text) for code, status, text in rows} == {
        code: (int(problem.status), problem.message) for code, problem in CATALOG.items()
    }


def test_the_readme_lists_every_configuration_variable() -> None:
    code = (ROOT / "taskflow/config.py").read_text()
    names = set(re.findall(r'"([A-Z]+_[A-Z_]+|PORT)"', code)) - {"PGSSLMODE"}
    table = README.partition("## Configuration")[2].partition("## Errors")[0]
    assert names <= set(re.findall(r"`([A-Z_]+)`", table))
    assert len(names) > 12


def test_every_path_of_the_layout_exists() -> None:
    layout = README.partition("## Layout")[2].partition("## Configuration")[0]
    for name in re.findall(r"`([\w./]+)`", layout):
        places = (ROOT / name, ROOT / "taskflow" / name, ROOT / "taskflow/tasks" / name)
        assert any(place.exists() for place in places), name


def test_every_platform_runs_the_commands_of_the_procfile() -> None:
    deploy = README.partition("## Deploy")[2]

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
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/security.md").read_text()))
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 40
    assert named <= set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))


def test_the_operations_page_lists_every_alert() -> None:
    alerts = re.findall(r"alert: (\w+)", (ROOT / "examples/alerts.yml").read_text())
    page = (ROOT / "docs/operations.md").read_text()
    assert re.findall(r"^\| `(TaskFlow\w+)` \|", page, re.MULTILINE) == alerts
