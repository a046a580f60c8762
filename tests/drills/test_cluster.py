"""The primary of the example cluster is killed or frozen under load, and a standby takes over.

Throughout the drill, the load goes through HAProxy, both instances of the service, PgBouncer and
the three members of the cluster.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg2
import pytest

from examples.cluster.cluster import INSTANCES, MEMBERS, kill, processes, roles
from tests.support.callers import UNLIMITED, Callers
from tests.support.drills import SHORT
from tests.support.faults import assert_loads_kept, wait_until_recovered
from tests.support.load import Client, Load, look_for, wait_for
from tests.support.service import ROOT, production_env

SCRIPT = ROOT / "examples/cluster/cluster.py"
PROGRAMS = ("etcd", "haproxy", "patroni", "pgbouncer")
_path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
_missing = [name for name in PROGRAMS if not shutil.which(name, path=_path)]
if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
    _missing.append("postgresql")
pytestmark = pytest.mark.skipif(bool(_missing), reason=f"not installed: {', '.join(_missing)}")

API_PORT = 13000
FAILOVER = 60  # seconds, of which Patroni's ttl takes 20


class Cluster:
    """The cluster that the example's script runs, in its own folder."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="taskflow-drill-"))
        self.folder.chmod(0o755)  # PostgreSQL's user needs to pass through

    def run(self, command: str) -> None:
        """Run a command of the script."""
        env = production_env("", **UNLIMITED, LOG_LEVEL="critical")
        command_line = [sys.executable, SCRIPT, "--folder", self.folder, command]
        done = subprocess.run(command_line, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def url(self, address: str = "127.0.0.1", port: int = 15000) -> str:
        """Return the URL of the primary, or of a member."""
        return f"postgresql://taskflow@{address}:{port}/taskflow"

    def instances(self) -> list[int]:
        """Return the process ids of both instances."""
        return [process.pid for name in INSTANCES for process in processes(self.folder / name)]

    def holds(self, load: Load, address: str) -> bool:
        """Return whether a member has every acknowledged write exactly once."""
        try:
            findings = look_for(load.record, self.url(address, 15432))
        except psycopg2.OperationalError:  # the member is starting
            return False
        return (findings.lost, findings.doubled) == (0, 0)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Return a cluster that the drill may break."""
    cluster = Cluster()
    try:
        cluster.run("start")
        yield cluster
    finally:
        cluster.run("stop")
        shutil.rmtree(cluster.folder)


def primary() -> str:
    """Return the name of the primary."""
    [name] = [name for name, role in roles().items() if role == "primary"]
    return name


def longest_gap(loads: tuple[Load, ...], since: float) -> float:
    """Return the longest time without a success."""
    answers = [answer for load in loads for answer in load.record.answers]
    served = sorted(a.at for a in answers if a.at > since and 200 <= a.status < 300)
    return max(after - before for before, after in pairwise(served))


def freeze(part: Path) -> None:
    """Suspend every process, as a host suspends a virtual machine."""
    for process in processes(part):
        process.suspend()


@pytest.mark.parametrize("fail", [kill] if SHORT else [kill, freeze])
def test_the_cluster_survives_the_failure_of_its_primary(
    fail: Any, cluster: Cluster, figures: Any
) -> None:
    instances = cluster.instances()
    loads = plain, keyed = Callers(API_PORT, 8), Callers(API_PORT, 8, idempotent=True)
    with plain, keyed:
        since = time.monotonic()
        time.sleep(2)
        failed = primary()
        fail(cluster.folder / failed)
        wait_until_recovered(loads, FAILOVER)
        failover = longest_gap(loads, since)
        assert primary() != failed
        for process in processes(cluster.folder / failed):
            process.resume()  # the member still believes that it is the primary
        started = time.monotonic()
        cluster.run("start")  # waits until all three replicate
        back = time.monotonic() - started
        assert primary() != failed
        time.sleep(1)
    assert_loads_kept(loads, cluster, figures, failover=failover, back=back)
    assert cluster.instances() == instances
    for port in INSTANCES.values():
        client = Client(port, plain.clients[0].token)
        assert client("POST", "/api/v1/tasks", {"title": f"by {port}"})[0] == 201
        client.close()
    for address in MEMBERS.values():  # the failed member included
        wait_for(lambda: all(cluster.holds(load, address) for load in loads), FAILOVER)
