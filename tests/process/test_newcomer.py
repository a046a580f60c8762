"""The files that a newcomer reads first match the code, and a mistake gets a one-line message."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from taskflow.config import Config, load_config
from tests.support.credentials import SECRET
from tests.support.service import ROOT, free_port, production_env, run

EXAMPLE = re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
PRODUCTION = {"DATABASE_URL": "postgresql://db.example/taskflow", "JWT_SECRET": SECRET}


class RecordingEnvironment(Mapping[str, str]):
    """An environment that records the names that are looked up."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values_by_name, self.names = values, set[str]()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


def test_env_example_lists_exactly_the_variables_that_the_service_reads() -> None:
    environ = RecordingEnvironment(PRODUCTION)
    load_config(production=True, environ=environ)
    names = [name for name, _ in EXAMPLE]
    assert len(names) == len(set(names))
    assert set(names) == environ.names


def test_every_value_in_env_example_is_valid() -> None:
    values = {name: value for name, value in EXAMPLE if value}
    assert load_config(production=True, environ={**PRODUCTION, **values}).production


def replace_in_url(url: str, **parts: str) -> str:
    """Return a URL with some of its parts replaced."""
    return urlsplit(url)._replace(**parts).geturl()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        pytest.param({"scheme": "mysql"}, "must be a postgresql:// URL", id="scheme"),
        pytest.param({"path": "/nowhere"}, 'database "nowhere" does not exist', id="database"),
        pytest.param({"netloc": "nobody:hunter2@"}, 'role "nobody" does not exist', id="user"),
        pytest.param(
            {"netloc": f"u:hunter2@127.0.0.1:{free_port()}", "query": ""}, "refused", id="port"
        ),
        pytest.param({"netloc": "u:p%zz@db", "query": ""}, "can't be parsed", id="escape"),
    ],
)
def test_app_py_reports_a_bad_database_url_in_one_line(
    config: Config, changes: dict[str, str], complaint: str
) -> None:
    url = replace_in_url(config.database_url or "", **changes)
    done = run(f"{sys.executable} app.py", production_env(url, PORT=str(free_port())))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert "DATABASE_URL" in done.stderr
    assert complaint in done.stderr
    assert "hunter2" not in done.stderr


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as in a terminal, even if make itself runs the tests."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=env, capture_output=True, text=True)


def test_make_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    done = make()
    assert re.findall(r"^  ([a-z-]+) +\w", done.stdout, re.MULTILINE) == phony.split()
    assert make("help").stdout == done.stdout


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        pytest.param("exit 1", "is not Python 3.11 or newer", id="old"),
        pytest.param('case "$2" in *venv*) exit 1;; esac', "lacks venv", id="venv"),
    ],
)
def test_make_names_an_interpreter_that_does_not_fit(
    tmp_path: Path, program: str, complaint: str
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "requirements-run.txt"):
        (tmp_path / name).touch()
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    done = make("-C", str(tmp_path), "run", f"PYTHON={python}")
    first, *others = done.stderr.splitlines()
    assert complaint in first
    assert len(others) == 1  # make's own: it failed
    assert not (tmp_path / ".venv").exists()


def test_ci_covers_the_oldest_supported_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    versions = workflow["jobs"]["ci"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={versions[0]}"


def test_pre_commit_runs_the_programs_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = make("-n", "-o", ".venv/installed", "lint").stdout
    for hook in hooks:
        command = hook["entry"].removesuffix(" --force-exclude").removesuffix(" --check")
        assert command in lint
    assert len(hooks) == len(lint.splitlines())


def test_every_requirement_is_pinned() -> None:
    for path in ROOT.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            is_pinned = re.fullmatch(r"[\w-]+==[\w.]+", line) is not None
            assert is_pinned or re.fullmatch(r"(#.*|-r requirements[\w-]*\.txt|)", line), line
