"""The memory and connections of processes, and control groups that limit them (Linux)."""

from pathlib import Path
from uuid import uuid4

import psutil
import pytest

ROOT = Path("/sys/fs/cgroup")
PERIOD = 100_000  # microseconds


def megabytes(pid: int) -> float:
    """Return the resident memory of a process."""
    return psutil.Process(pid).memory_info().rss / 2**20


def peer_ports(pid: int) -> set[int]:
    """Return the remote ports of the connections of a process."""
    connections = psutil.Process(pid).net_connections("tcp")
    return {connection.raddr.port for connection in connections if connection.raddr}


class Group:
    """A control group, of version 1 or 2, with a limit of CPUs and of megabytes."""

    def __init__(self, cpus: float, memory: int) -> None:
        name = f"taskflow-drill-{uuid4().hex[:8]}"
        self._unified = (ROOT / "cgroup.controllers").exists()
        parts = [ROOT] if self._unified else [ROOT / "cpu", ROOT / "memory"]
        self._folders = [part / name for part in parts]
        quota, limit = int(cpus * PERIOD), memory * 2**20
        try:
            if self._unified:
                (ROOT / "cgroup.subtree_control").write_text("+cpu +memory")
            for folder in self._folders:
                folder.mkdir()
            if self._unified:
                self._file("cpu.max").write_text(f"{quota} {PERIOD}")
                self._file("memory.max").write_text(str(limit))
            else:
                self._file("cpu.cfs_period_us").write_text(str(PERIOD))
                self._file("cpu.cfs_quota_us").write_text(str(quota))
                self._file("memory.limit_in_bytes").write_text(str(limit))
        except OSError as error:
            self.remove()
            pytest.skip(f"no control group can be made here: {error}")

    def _file(self, name: str) -> Path:
        return next(folder / name for folder in self._folders if (folder / name).exists())

    def write_launcher(self, path: Path) -> None:
        """Write a script that runs, in the group, the next program on the PATH with its name."""
        enter = "\n".join(f"echo $$ > {folder}/cgroup.procs" for folder in self._folders)
        path.write_text(f'#!/bin/sh\n{enter}\nPATH=${{PATH#*:}}\nexec {path.name} "$@"\n')
        path.chmod(0o755)

    def peak(self) -> float:
        """Return the largest number of megabytes that were in use."""
        name = "memory.peak" if self._unified else "memory.max_usage_in_bytes"
        return int(self._file(name).read_text()) / 2**20

    def kills(self) -> int:
        """Return the number of processes that were killed for lack of memory."""
        name = "memory.events" if self._unified else "memory.oom_control"
        rows = [line.split() for line in self._file(name).read_text().splitlines()]
        return int(dict(rows)["oom_kill"])

    def throttled(self) -> int:
        """Return the number of periods in which the CPU was throttled."""
        rows = [line.split() for line in self._file("cpu.stat").read_text().splitlines()]
        return int(dict(rows)["nr_throttled"])

    def remove(self) -> None:
        """Delete the group after its processes have ended."""
        for folder in self._folders:
            if folder.exists():
                folder.rmdir()
