"""The measured targets: their processes and limits, their load, and the resources it took."""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile, mkdtemp
from typing import Any

import psutil
import pytest

from taskflow.config import Config, load_config
from taskflow.database.migrations import apply_migrations
from tests.support.callers import UNLIMITED
from tests.support.credentials import PASSWORD, SECRET
from tests.support.database import run_sql
from tests.support.load import Client
from tests.support.postgres import Postgres
from tests.support.processes import Group
from tests.support.service import ROOT, free_port, production_env

CPUS, MEMORY = 0.5, 512  # of each target; megabytes
CONNECTIONS, LOGINS = 16, 10  # at a time
PAGE = "limit=20"


@dataclass
class Figures:
    """The figures of a load; CPU is that of the service and of PostgreSQL, in µs a request."""

    rate: float  # requests a second
    p50: float  # milliseconds
    p99: float
    cpu: float
    postgres_cpu: float
    memory: float  # megabytes, at the most
    errors: int

    @property
    def total(self) -> float:
        """The CPU of the service and of PostgreSQL, in µs a request."""
        return self.cpu + self.postgres_cpu


Measured = dict[str, list[Figures]]  # of each load, the rounds


class Account:
    """A registered user, whose token is renewed before it expires."""

    def __init__(self, port: int, number: int) -> None:
        self._client = Client(port)
        self.email, self.tasks = f"bench{number}@example.com", list[str]()
        body = {"email": self.email, "password": PASSWORD}
        session = self._send(201, "POST", "/api/v1/auth/register", body)
        self.id, self.token = session["user"]["id"], session["accessToken"]

    def create_tasks(self, count: int) -> None:
        """Create `count` tasks through the API."""
        self._client.token = self.token
        for number in range(count):
            body = {"title": f"Task {number}", "description": "Before the next meeting. " * 6}
            self.tasks.append(self._send(201, "POST", "/api/v1/tasks", body)["id"])

    def renew(self) -> None:
        """Refresh the session."""
        self._client.token = self._client.cookies["__Secure-refresh_token"]
        self.token = self._send(200, "POST", "/api/v1/auth/refresh")["accessToken"]

    def line(self) -> str:
        """Return this account as a line for load.lua."""
        return " ".join([self.email, self.id, self.token, *self.tasks])

    def _send(self, expected: int, *request: Any) -> Any:
        status, body, _ = self._client(*request)
        assert status == expected, body
        return body


class Target:
    """A web process, in a control group where one can be made; its log goes to a file."""

    def __init__(self, command: str, url: str, folder: Path) -> None:
        self.port, self.group = free_port(), make_group()
        env = production_env(url, PORT=str(self.port), **UNLIMITED)
        if self.group:
            self.group.write_launcher(folder / "python")
            env["PATH"] = f"{folder}{os.pathsep}{env['PATH']}"
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"], cwd=ROOT, env=env, stdout=log, stderr=log
            )

    def wait_until_live(self) -> None:
        """Wait until the process answers."""
        deadline = time.monotonic() + 60
        while not Client(self.port)("GET", "/health/live")[0]:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        """The master's process id."""
        return self._process.pid

    def forget_peak(self) -> None:
        """Reset the peak of the memory (proc(5), clear_refs)."""
        for process in _family(self.pid):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")

    def peak(self) -> float:
        """Return the peak memory in megabytes; shared memory counts in each process."""
        texts = [Path(f"/proc/{p.pid}/status").read_text() for p in _family(self.pid)]
        return sum(int(text.split("VmHWM:")[1].split()[0]) for text in texts) / 1024

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(40)
        if self.group:
            self.group.remove()


def make_group() -> Group | None:
    """Create a control group with the limits, or return None if the system forbids it."""
    try:
        return Group(CPUS, MEMORY)
    except pytest.skip.Exception:
        return None


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children()]


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process and its children, including ended ones."""
    ended = psutil.Process(pid).cpu_times()
    seconds = ended.children_user + ended.children_system
    for process in _family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system
    return float(seconds)


class Bench:
    """A run of the benchmark: its own PostgreSQL, its targets, and their load."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self.options, self._folder, self._stack = options, folder, stack
        self._postgres = Postgres(fsync="on", max_connections="200")
        stack.callback(self._postgres.remove)
        self._postgres.create()

    def create_database(self, name: str) -> str:
        """Create a database with the schema, and return its URL."""
        run_sql(self._postgres.url("postgres"), f"CREATE DATABASE {name}")
        apply_migrations(config_of(self._postgres.url(name)))
        return self._postgres.url(name)

    def start(self, command: str, url: str) -> Target:
        """Start a target, which is stopped at the end of the run."""
        target = Target(command, url, Path(mkdtemp(dir=self._folder)))
        self._stack.callback(target.stop)
        target.wait_until_live()
        return target

    def measure(
        self, target: Target, load: str, accounts: list[Account], query: str = PAGE, extra: int = 0
    ) -> Figures:
        """Load a target for some seconds."""
        pids = target.pid, self._postgres.pid()
        target.forget_peak()
        before = [cpu_seconds(pid) for pid in pids]
        with NamedTemporaryFile("w", dir=self._folder) as file:
            file.writelines(f"{account.line()}\n" for account in accounts)
            file.flush()
            result = _wrk(target.port, self.options.seconds + extra, load, file.name, query)
        spent = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
        cpu, postgres_cpu = (1e6 * seconds / max(result["requests"], 1) for seconds in spent)
        return Figures(
            rate=result["requests"] / result["seconds"],
            p50=result["p50"],
            p99=result["p99"],
            cpu=cpu,
            postgres_cpu=postgres_cpu,
            memory=target.peak(),
            errors=result["errors"],
        )

    def in_turns(
        self, cases: Mapping[str, Callable[[], Figures]], accounts: list[Account]
    ) -> Measured:
        """Measure each case once a round, so that noise on the machine affects all cases equally.

        Tokens expire after a quarter of an hour, so each case gets new ones.
        """
        measured: Measured = {name: [] for name in cases}
        for number in range(self.options.rounds):
            for name, measure in cases.items():
                print(f"bench: round {number + 1}: {name}", file=sys.stderr)
                for account in accounts:
                    account.renew()
                measured[name].append(measure())
        return measured


def _wrk(port: int, seconds: int, load: str, *arguments: str) -> Any:
    connections = LOGINS if load == "login" else CONNECTIONS
    script = str(ROOT / "bench/load.lua")
    wrk = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "30", "-s", script]
    command = [*wrk, f"http://127.0.0.1:{port}", "--", load, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def median(rounds: list[Figures]) -> Figures:
    """Return the median of each figure, and the sum of errors."""
    names = [field.name for field in fields(Figures)]
    values = {name: statistics.median(getattr(f, name) for f in rounds) for name in names}
    return Figures(**values | {"errors": sum(f.errors for f in rounds)})


def seed(target: Target, users: int, count: int) -> list[Account]:
    """Register users, and create `count` tasks for each of them, through the API."""
    with ThreadPoolExecutor(8) as pool:
        accounts = list(pool.map(partial(Account, target.port), range(users)))
        list(pool.map(lambda account: account.create_tasks(count), accounts))
    return accounts


def config_of(url: str) -> Config:
    """Return a configuration for using the service's functions in this process."""
    return load_config(production=False, environ={"DATABASE_URL": url, "JWT_SECRET": SECRET})
