"""Run a cluster of TaskFlow on the loopback addresses of this machine.

The commands start the cluster, show its status, kill a part, and stop it. `start` starts only the
parts that are not running, so it also brings back a killed part. Each part has a folder with its
data and its `log`; every process whose working folder is in that folder belongs to the part. The
configuration files are beside this file, and each port is the usual one + 10,000. The programs come
from Debian: etcd-server, haproxy, patroni, pgbouncer and postgresql.
"""

import argparse
import contextlib
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MEMBERS = {"db1": "127.0.0.11", "db2": "127.0.0.12", "db3": "127.0.0.13"}
INSTANCES = {"web1": 13001, "web2": 13002}
SERVERS = {
    "etcd": "etcd --config-file etcd.yml",
    **dict.fromkeys(MEMBERS, "patroni patroni.yml"),
    "haproxy": "haproxy -f haproxy.cfg",
    "pgbouncer": "pgbouncer pgbouncer.ini",
}
TIERS = (("etcd",), tuple(MEMBERS), ("haproxy", "pgbouncer"), tuple(INSTANCES))
ROLES = ("primary", "sync", "replica")  # in this order: a synchronous standby is a replica too
API = "127.0.0.1:13000"
DATABASE_URL = "postgresql://taskflow@127.0.0.1:16432/taskflow?sslmode=disable"
SECONDS = 90  # the longest wait for a condition, on a slow machine


def start(folder: Path) -> None:
    """Start the parts that are not running, and wait until members and API are healthy."""
    if _answers(f"{API}/health/live") and not processes(folder / "haproxy"):
        sys.exit(f"cluster: http://{API} is served by a cluster in another folder")
    environ = _environ(folder)
    for part, command in SERVERS.items():
        _start(folder / part, command, {**environ, **_patroni_environ(part)}, _server_user())
    _wait_for("three replicating members", _is_whole)
    procfile = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    _wait_for("the release", _succeeds, procfile["release"], environ)
    for part, port in INSTANCES.items():
        _start(folder / part, procfile["web"], {**environ, "PORT": str(port)}, None)
    for site in (*(f"127.0.0.1:{port}" for port in INSTANCES.values()), API):
        _wait_for(site, _answers, f"{site}/health")
    print(f"API: http://{API}/api/v1")


def stop(folder: Path) -> None:
    """Stop all parts, clients before their servers."""
    for tier in reversed(TIERS):
        for part in tier:
            for process in processes(folder / part)[:1]:
                process.terminate()
        with contextlib.suppress(TimeoutError):
            _wait_for("the end", _are_stopped, [folder / part for part in tier])
        for part in tier:
            kill(folder / part)


def kill(part: Path) -> None:
    """Kill every process of a part, supervisors first."""
    while found := processes(part):
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def processes(part: Path) -> list[psutil.Process]:
    """Return the processes whose working folder is in a part's folder, oldest first."""
    found = [
        process
        for process in psutil.process_iter(["cwd", "create_time"])
        if Path(process.info["cwd"] or "/").is_relative_to(part)
    ]
    return sorted(found, key=lambda process: process.info["create_time"])


def roles() -> dict[str, str]:
    """Return the role of each member that answers, from the API that HAProxy asks too."""
    known = {}
    for part, address in MEMBERS.items():
        for role in ROLES:
            if part not in known and _answers(f"{address}:18008/{role}"):
                known[part] = role
    return known


def print_status(folder: Path) -> None:
    """Print the name, the state and, for a member, the role of each part."""
    known = roles()
    for part in (*SERVERS, *INSTANCES):
        state = "running" if processes(folder / part) else "stopped"
        print(f"{part:10} {state} {known.get(part, '')}".rstrip())


def _environ(folder: Path) -> dict[str, str]:
    postgres = max(Path("/usr/lib/postgresql").glob("*/bin"), default="")
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{postgres}:{os.environ['PATH']}:/usr/sbin",
        "DATABASE_URL": DATABASE_URL,
        "JWT_SECRET": _jwt_secret(folder),
        # An instance runs in its own folder, like every part, so it has to find the checkout.
        "PYTHONPATH": str(ROOT),
        "GUNICORN_CMD_ARGS": f"--config {ROOT}/gunicorn.conf.py",
    }


def _jwt_secret(folder: Path) -> str:
    """Return the secret that both instances share, and keep it for later starts."""
    path = folder / "jwt_secret"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text()


def _patroni_environ(part: str) -> dict[str, str]:
    if part not in MEMBERS:
        return {}
    address = MEMBERS[part]
    return {
        "PATRONI_NAME": part,
        "PATRONI_RESTAPI_LISTEN": f"{address}:18008",
        "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{address}:18008",
        "PATRONI_POSTGRESQL_LISTEN": f"{address}:15432",
        "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{address}:15432",
        "PATRONI_POSTGRESQL_DATA_DIR": "data",
    }


def _server_user() -> str | None:
    return "postgres" if os.geteuid() == 0 else None  # PostgreSQL and PgBouncer refuse root


def _start(part: Path, command: str, environ: dict[str, str], user: str | None) -> None:
    if processes(part):
        return
    part.mkdir(parents=True, exist_ok=True)
    configuration = HERE / command.split()[-1]
    if configuration.exists():  # copied, because `user` may not be allowed to read the checkout
        shutil.copy(configuration, part)
    if user:
        shutil.chown(part, user, user)
    with (part / "log").open("a") as log:
        subprocess.Popen(  # noqa: S603 (commands from above and from the Procfile)
            shlex.split(command),
            cwd=part,
            env={**environ, "HOME": str(part)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )


def _succeeds(command: str, environ: dict[str, str]) -> bool:
    done = subprocess.run(shlex.split(command), cwd=ROOT, env=environ, check=False)  # noqa: S603
    return done.returncode == 0


def _is_whole() -> bool:
    return sorted(roles().values()) == sorted(ROLES)


def _are_stopped(parts: list[Path]) -> bool:
    return not any(processes(part) for part in parts)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urlopen(f"http://{url}", timeout=2) as response:
        return bool(response.status == 200)
    return False


def _wait_for(what: str, condition: Callable[..., object], *arguments: object) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition(*arguments):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} not reached within {SECONDS} s; look at the parts' logs")
        time.sleep(0.5)


def main() -> None:
    """Run the command that the arguments name."""
    default = Path(tempfile.gettempdir(), "taskflow-cluster")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=default, help=f"default: {default}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("start", "status", "stop"):
        commands.add_parser(name)
    commands.add_parser("kill").add_argument("part", choices=(*SERVERS, *INSTANCES))
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    if arguments.command == "kill":
        kill(folder / arguments.part)
    else:
        {"start": start, "status": print_status, "stop": stop}[arguments.command](folder)


if __name__ == "__main__":
    main()
