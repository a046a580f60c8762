"""A `git push` deploys the service under traffic, with a real git, pip and router."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskflow.config import VERSION
from tests.support.callers import UNLIMITED, Caller, Callers, count_unanswered
from tests.support.database import run_sql
from tests.support.drills import SHORT
from tests.support.haproxy import Balancer
from tests.support.load import look_for
from tests.support.post_receive import Release
from tests.support.postgres import Postgres
from tests.support.service import ROOT, free_port, production_env

PAUSE = 0.05  # seconds between a client's requests, since the build needs the CPU too
NEW_COLUMN = "ALTER TABLE tasks ADD COLUMN note text;"
SCHEMA_WITH_COLUMN = f"\n{NEW_COLUMN}\nCREATE TABLE schema_migrations"
BLOCKED = 3  # seconds that a release, and the requests behind it, may wait for a table

pytestmark = [
    pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")
    for program in ("git", "haproxy")
]


@pytest.fixture(autouse=True)
def _index(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--retries=0", "--timeout=15", "download", "--no-deps"]
    [pin] = re.findall(r"^Flask==.*", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    if subprocess.run([*pip, "-qd", tmp_path / "pip", pin], capture_output=True).returncode:
        pytest.skip("pip's index can't be reached")


class Platform:
    """A repository that deploys every push, and its releases."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.ports = folder, [free_port(), free_port()]
        self.balancer = Balancer(self.ports, told=True)
        self._config = {
            "ports": self.ports,
            "router": str(self.balancer.admin),
            "env": production_env(url.replace("postgresql://", "postgres://"), **UNLIMITED),
        }
        (folder / "config.json").write_text(json.dumps(self._config))
        git("init", "--quiet", "--bare", folder / "app.git")
        hook = folder / "app.git/hooks/post-receive"
        module = f"{sys.executable} -m tests.support.post_receive {folder}"
        hook.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} exec {module}\n")
        hook.chmod(0o755)

    def current(self) -> Release:
        """Return the release that serves."""
        return Release((self.folder / "current").resolve(), self._config)

    def remove(self) -> None:
        """Stop the releases and the router."""
        for pid in self.folder.glob("releases/*/pid"):
            if not (pid.parent / "exit").exists():
                Release(pid.parent, self._config).stop()
        self.balancer.remove()


class Checkout:
    """The developer's repository, with the code of this folder."""

    def __init__(self, folder: Path, remote: Path) -> None:
        self.folder = folder
        git("init", "--quiet", "--initial-branch=main", folder)
        git(f"--git-dir={folder}/.git", f"--work-tree={ROOT}", "add", ".")
        self._git("commit", "--quiet", "-m", "As it is")
        self._git("reset", "--quiet", "--hard")
        self._git("remote", "add", "platform", remote)

    def _git(self, *args: Any) -> str:
        return git("-C", self.folder, "-c", "user.name=A", "-c", "user.email=a@example.com", *args)

    def change(self, name: str, old: str, new: str) -> None:
        """Replace the only occurrence of a text in a file, and commit the change."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        self._git("commit", "--quiet", "-am", f"Change {name}")

    def add(self, name: str, text: str) -> None:
        """Add a file and commit it."""
        (self.folder / name).write_text(text)
        self._git("add", name)
        self._git("commit", "--quiet", "-m", f"Add {name}")

    def push(self) -> dict[str, tuple[float, float]]:
        """Push, and return the times at which each step of the deploy began and ended."""
        said = self._git("push", "platform", "main")
        steps = re.findall(r"^remote: (\w+) ([\d.]+) ([\d.]+) *$", said, re.MULTILINE)
        assert steps, said
        return {name: (float(started), float(ended)) for name, started, ended in steps}


def git(*args: Any) -> str:
    """Run git without any user's configuration, and return its messages."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", *args], capture_output=True, text=True, env=env, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def platform(postgres: Postgres, tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path, postgres.url())
    try:
        yield platform
    finally:
        platform.remove()


def version(platform: Platform) -> str:
    client = Caller(platform.balancer.port)
    _, health, _ = client("GET", "/health")
    client.close()
    return health["version"]


def test_a_push_deploys_under_traffic_and_fails_no_request(
    platform: Platform, postgres: Postgres, tmp_path: Path, figures: Any
) -> None:
    run_sql(postgres.url("postgres"), "DROP DATABASE taskflow")
    run_sql(postgres.url("postgres"), "CREATE DATABASE taskflow")  # `release` creates the tables
    checkout = Checkout(tmp_path / "checkout", tmp_path / "app.git")
    first = checkout.push()
    assert version(platform) == VERSION
    checkout.change("taskflow/config.py", f'VERSION = "{VERSION}"', 'VERSION = "next"')
    checkout.add("migrations/9000_note.sql", NEW_COLUMN)
    checkout.change("schema.sql", "\nCREATE TABLE schema_migrations", SCHEMA_WITH_COLUMN)
    old = platform.current()
    with Callers(platform.balancer.port, pause=PAUSE) as load:
        time.sleep(1)
        second = checkout.push()
        if not SHORT:  # builds a release that does not start
            checkout.change("wsgi.py", "app = create_app(config)", "")
            assert list(checkout.push()) == ["build", "release"]
        time.sleep(1)
    assert version(platform) == "next"
    assert list(second) == [*first, "stop"] == ["build", "release", "start", "switch", "stop"]
    began, ended = second["release"]
    beside = [a.seconds for a in load.record.answers if began < a.at < ended + BLOCKED]
    findings = look_for(load.record, postgres.url())
    unanswered = count_unanswered(load.record, postgres.url())
    figures(
        load.record,
        findings,
        unanswered=unanswered,
        longest_beside_release=max(beside),
        **{f"first_{name}": ended - began for name, (began, ended) in first.items()},
        **{f"second_{name}": ended - began for name, (began, ended) in second.items()},
    )
    assert (findings.lost, findings.doubled, unanswered) == (0, 0, 0)
    assert set(load.record.statuses()) == {200, 201}
    assert findings.acknowledged > 100
    assert len(beside) > 20
    assert max(beside) < BLOCKED
    assert (old.folder / "exit").read_text() == "0\n"
    assert platform.current().stop() == 0
