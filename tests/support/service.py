"""The web process, started as the Procfile says, and the environment that it needs."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest

from tests.support.credentials import SECRET

ROOT = Path(__file__).parent.parent.parent


# gthread's threads wait for slow clients. With gthread, a buffering router has to keep the promises
# about slow clients.
GTHREAD = os.environ.get("WEB_WORKER") == "gthread"
buffered_only = pytest.mark.skipif(GTHREAD, reason="gunicorn's gthread waits for slow clients")


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def production_env(database_url: str, **changes: str) -> dict[str, str]:
    """Return an environment as on a platform, with the virtual environment on its PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"DATABASE_URL": database_url, "JWT_SECRET": SECRET, "PGSSLMODE": "disable"}
    unlimited = {"RATE_LIMIT": "1000000/second", "AUTH_RATE_LIMIT": "1000000/second"}
    # coverage measures the processes that inherit its variables.
    inherited = {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("COVERAGE_")}
    worker = {"WEB_WORKER": "gthread" if GTHREAD else "buffered"}
    return {"PATH": path, **inherited, **worker, **settings, **unlimited, **changes}


def procfile(process: str, folder: Path = ROOT) -> str:
    """Return the command of a process in the Procfile."""
    lines = (folder / "Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)[process]


def run(command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in the shell to its end, and return the result."""
    return subprocess.run(
        command, shell=True, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )


class Service:
    """The web process, on a port of its own, with its output in a pipe."""

    def __init__(
        self, database_url: str, port: int = 0, app: str = "wsgi:app", **changes: str
    ) -> None:
        self.port = port or free_port()
        env = production_env(database_url, PORT=str(self.port), **changes)
        self.process = subprocess.Popen(
            ["sh", "-c", f"exec {procfile('web').replace('wsgi:app', app)}"],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.wait_until_live()

    def wait_until_live(self) -> None:
        """Wait until the process answers, for up to 30 seconds."""
        deadline = time.monotonic() + 30
        while True:
            try:
                assert self.get("/health/live")[0] == 200
                return
            except OSError:
                assert self.process.poll() is None, self.stop()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def get(self, path: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Send a GET, and return status, body and headers."""
        return self.request("GET", path, headers=headers)

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Send a request on a connection of its own, and return status, body and headers."""
        conn = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = None if body is None else json.dumps(body)
            given = {"Content-Type": "application/json"} if data else {}
            conn.request(method, path, data, {**given, **(headers or {})})
            response = conn.getresponse()
            text = response.read()
            return response.status, json.loads(text or b"null"), dict(response.getheaders())
        finally:
            conn.close()

    def text(self, path: str, headers: dict[str, str]) -> str:
        """Send a GET, and return the text of an answer that is not JSON."""
        request = Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urlopen(request) as response:
            return response.read().decode()

    def workers(self, at_least: int = 1) -> list[int]:
        """Return the process ids of the workers, as soon as there are enough of them."""
        deadline = time.monotonic() + 30
        while True:
            found = [child.pid for child in psutil.Process(self.process.pid).children()]
            if len(found) >= at_least:
                return found
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill_a_worker(self) -> None:
        """Kill a worker, and wait until another one has replaced it."""
        before = self.workers()
        os.kill(before[0], signal.SIGKILL)
        deadline = time.monotonic() + 30
        while before[0] in self.workers(len(before)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)  # until the new worker answers too

    def stop(self, how: signal.Signals = signal.SIGTERM) -> list[str]:
        """Stop the process, and return the lines of its output."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        output, _ = self.process.communicate(timeout=40)
        return output.splitlines()


@contextlib.contextmanager
def serving(database_url: str, **changes: str) -> Iterator[Service]:
    """Run the web process, and stop it at the end."""
    service = Service(database_url, **changes)
    try:
        yield service
    finally:
        service.stop()
