"""A platform's deploy, which git's post-receive hook runs in the platform's folder.

The folder holds `config.json` (environment, ports and router of the app) and a release for each
commit. The program prints when each step began and ended. If a release does not become healthy, the
release before it continues to serve.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.support.haproxy import command, is_up
from tests.support.load import wait_for
from tests.support.service import procfile

KILLED_AFTER = 30  # seconds from SIGTERM, as on Heroku and Render
PATIENCE = 60  # seconds for a new release to be healthy


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Print when a step began and ended."""
    started = time.monotonic()
    yield
    print(name, f"{started:.2f} {time.monotonic():.2f}", flush=True)


class Release:
    """A commit, checked out into a folder of its own."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.router = Path(config["router"])
        path = f"{folder}/.venv/bin{os.pathsep}{config['env']['PATH']}"
        self._env = {**config["env"], "PATH": path}

    def build(self, commit: str) -> None:
        """Check the commit out, and install its requirements into an environment of its own."""
        self.folder.mkdir(parents=True)
        subprocess.run(["git", f"--work-tree={self.folder}", "checkout", "-qf", commit], check=True)
        subprocess.run([sys.executable, "-m", "venv", self.folder / ".venv"], check=True)
        pip = [self.folder / ".venv/bin/pip", "install", "--quiet", "-r", "requirements.txt"]
        subprocess.run(pip, cwd=self.folder, check=True)

    def prepare(self) -> None:
        """Run the `release` process of the Procfile."""
        line = procfile("release", self.folder)
        subprocess.run(line, shell=True, cwd=self.folder, env=self._env, check=True)

    def start(self, port: int) -> None:
        """Start the `web` process of the Procfile, with its process id and exit code in files."""
        web = f"{procfile('web', self.folder)} & echo $! > pid; wait $!; echo $? > exit"
        env = {**self._env, "PORT": str(port)}
        (self.folder / "port").write_text(str(port))
        with (self.folder / "log").open("w") as log:
            subprocess.Popen(
                ["sh", "-c", web], cwd=self.folder, env=env, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def port(self) -> int:
        """The port of the release's `web` process."""
        return int((self.folder / "port").read_text())

    def is_healthy(self) -> bool:
        """Return whether its `web` process is healthy."""
        assert not (self.folder / "exit").exists(), (self.folder / "log").read_text()
        with (
            contextlib.suppress(OSError),
            urlopen(f"http://127.0.0.1:{self.port}/health") as answer,
        ):
            return bool(answer.status == 200)
        return False

    def route(self, state: str) -> None:
        """Tell the router to send requests to this release (`ready`) or not (`maint`)."""
        command(self.router, f"set server instances/s{self.port} state {state}")
        if state == "ready":
            wait_for(lambda: is_up(self.router, self.port), PATIENCE)

    def stop(self) -> int:
        """Stop `web` with SIGTERM if it runs, and return its exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((self.folder / "pid").read_text()), signal.SIGTERM)
        code = self.folder / "exit"
        wait_for(lambda: code.exists() and code.read_text() != "", KILLED_AFTER)
        return int(code.read_text())


def deploy(platform: Path, commit: str) -> None:
    """Build, prepare and start a release, route requests to it, and stop the one before it."""
    config = json.loads((platform / "config.json").read_text())
    current = platform / "current"
    old = Release(current.resolve(), config) if current.exists() else None
    new = Release(platform / "releases" / commit, config)
    with step("build"):
        new.build(commit)
    with step("release"):
        new.prepare()
    with step("start"):
        new.start(next(port for port in config["ports"] if not old or port != old.port))
        try:
            wait_for(new.is_healthy, PATIENCE)
        except AssertionError:
            new.stop()
            raise
    with step("switch"):
        new.route("ready")
        if old:
            old.route("maint")
    current.unlink(missing_ok=True)
    current.symlink_to(new.folder)
    if old:
        with step("stop"):
            code = old.stop()
        print("exit code", code)


if __name__ == "__main__":
    for line in sys.stdin:
        deploy(Path(sys.argv[1]), line.split()[1])
