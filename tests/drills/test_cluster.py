"""The primary of the example cluster is killed under load, and comes back as a standby."""

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

import pytest

from examples.cluster.cluster import INSTANCES, MEMBERS, kill, processes, roles
from tests.drills.callers import UNLIMITED, Callers, count_unanswered
from tests.drills.conftest import SHORT
from tests.drills.load import Client, Findings, Load, look_for, wait_for
from tests.drills.test_failover import assert_kept, wait_until_recovered
from tests.service import ROOT, production_env

SCRIPT = ROOT / "examples/cluster/cluster.py"
PROGRAMS = ("etcd", "haproxy", "patroni", "pgbouncer")
PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
MISSING += [] if [*Path("/usr/lib/postgresql").glob("*/bin/postgres")] else ["postgresql"]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

API_PORT = 13000
FAILOVER = 60  # seconds, of which Patroni's ttl is 20


class Cluster:
    """The cluster of the script, in a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="taskflow-drill-"))
        self.folder.chmod(0o755)  # PostgreSQL's user passes through

    def run(self, command: str) -> None:
        """Run a command of the script."""
        env = production_env("", **UNLIMITED, LOG_LEVEL="critical")
        subprocess.run(
            [sys.executable, SCRIPT, "--folder", self.folder, command], env=env, check=True
        )

    def url(self, address: str = "127.0.0.1", port: int = 15000) -> str:
        """Give the URL of the primary, or of a member."""
        return f"postgresql://taskflow@{address}:{port}/taskflow"

    def service(self) -> list[int]:
        """Give the process ids of both instances."""
        return [process.pid for name in INSTANCES for process in processes(self.folder / name)]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster that the drill may break."""
    cluster = Cluster()
    try:
        cluster.run("start")
        yield cluster
    finally:
        cluster.run("stop")
        shutil.rmtree(cluster.folder)


def primary() -> str:
    """Give the name of the primary."""
    [leader] = [name for name, role in roles().items() if role == "leader"]
    return leader


def longest_gap(loads: tuple[Load, ...], since: float) -> float:
    """Give the longest time without a single success."""
    answers = [answer for load in loads for answer in load.record.answers]
    served = sorted(a.at for a in answers if a.at > since and 200 <= a.status < 300)
    return max(after - before for before, after in pairwise(served))


def test_the_primary_of_a_cluster_is_killed(cluster: Cluster, figures: Any) -> None:
    service = cluster.service()
    loads = plain, keyed = Callers(API_PORT, 8), Callers(API_PORT, 8, idempotent=True)
    failovers, returns = [], []
    with plain, keyed:
        for _ in range(1 if SHORT else 3):
            since = time.monotonic()
            time.sleep(2)
            died = primary()
            kill(cluster.folder / died)
            wait_until_recovered(loads, FAILOVER)
            failovers.append(longest_gap(loads, since))
            assert primary() != died
            started = time.monotonic()
            cluster.run("start")  # which waits until the three replicate
            returns.append(time.monotonic() - started)
            assert roles()[died] != "leader"
        time.sleep(1)
        assert cluster.service() == service
        for port in INSTANCES.values():
            client = Client(port, plain.clients[0].token)
            assert client("POST", "/api/v1/tasks", {"title": str(port)})[0] == 201
            client.close()
    unanswered = sum(count_unanswered(load.record, cluster.url()) for load in loads)
    assert_kept(loads, cluster, figures, failovers=failovers, returns=returns)
    figures(unanswered_but_done=unanswered)

    def held_by(address: str) -> list[Findings]:
        return [look_for(load.record, cluster.url(address, 15432)) for load in loads]

    for address in MEMBERS.values():  # the one that was killed holds all of it again, too
        wait_for(lambda: all((f.lost, f.doubled) == (0, 0) for f in held_by(address)), 10)
