"""The image holds and runs the service: each step of the Dockerfile runs in a debootstrap root."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest

from tests.support.credentials import SECRET
from tests.support.dockerfile import Stage, build, read_context
from tests.support.postgres import Postgres
from tests.support.service import ROOT, free_port

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the root"),
    pytest.mark.skipif(shutil.which("debootstrap") is None, reason="debootstrap is not installed"),
]

SUITE = "bookworm"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
# The network settings of this machine, which a container engine would pass on itself.
NETWORK_FILES = ("etc/resolv.conf", "etc/hosts", CERTIFICATES)
NETWORK_VARIABLES = {"PIP_CERT", "PIP_INDEX_URL", "HTTPS_PROXY", "https_proxy"}


def find_mirror() -> str:
    """Return the mirror that apt is configured with, or skip the test."""
    wanted = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    for uri, release, component in map(str.split, lines):
        if (release, component) == (SUITE, "main"):
            return uri
    pytest.skip(f"apt has no mirror of {SUITE}")


def make_base(root: Path) -> None:
    """Make a root of Debian with its Python, which stands in for the image python:…-slim."""
    packages = "--include=python3,python3-venv"
    command = ["debootstrap", "--variant=minbase", packages, SUITE, root, find_mirror()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    for name in NETWORK_FILES:
        if Path("/", name).exists():
            shutil.copy(Path("/", name), root / name)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder in memory: on a disk, dpkg would spend most of its time syncing files."""
    folder = tmp_path_factory.mktemp("image")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def image(scratch: Path) -> tuple[Stage, int]:
    """Return the last stage of the Dockerfile, and the number of its steps."""
    base = scratch / "base"
    make_base(base)
    variables = {k: v for k, v in os.environ.items() if k in NETWORK_VARIABLES}
    stage, steps = build(ROOT, base, variables)
    subprocess.run(["mount", "-t", "proc", "proc", stage.root / "proc"], check=True)
    return stage, steps


def ask(url: str) -> tuple[int, Any]:
    """Return the status and the JSON of an answer, once the service accepts connections."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urlopen(url, timeout=10) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_image_holds_only_what_the_service_runs(image: tuple[Stage, int]) -> None:
    stage, _ = image
    copied = {path.name for path in (stage.root / "app").iterdir()} - {"__pycache__"}
    assert copied == read_context(ROOT)
    assert stage.user not in ("0", "root")
    for folder in ("/app", "/app/taskflow", "/venv"):
        assert stage.run(["test", "-w", folder]).returncode == 1


def test_the_image_serves_and_stops_as_its_own_user(
    image: tuple[Stage, int], postgres: Postgres, figures: Any
) -> None:
    stage, steps = image
    port = str(free_port())
    settings = {"DATABASE_URL": postgres.url(), "JWT_SECRET": SECRET, "PGSSLMODE": "disable"}
    settings |= {"PORT": port}
    check = ["sh", "-c", stage.health_command]

    released = stage.run(["python", "-m", "taskflow", "release"], **settings)
    assert released.returncode == 0, released.stderr
    assert stage.run(check, **settings).returncode == 1

    started = time.monotonic()
    service = subprocess.Popen(stage.chroot(stage.command, **settings))
    try:
        assert ask(f"http://127.0.0.1:{port}/health/live") == (200, {"status": "healthy"})
        live = time.monotonic() - started
        assert ask(f"http://127.0.0.1:{port}/health")[0] == 200
        assert stage.run(check, **settings).returncode == 0
        processes = [psutil.Process(service.pid), *psutil.Process(service.pid).children()]
        assert {str(process.uids().effective) for process in processes} == {stage.user}
        service.send_signal(signal.Signals[stage.stop_signal])
        assert service.wait(timeout=30) == 0
    finally:
        service.kill()
        service.wait()
    added = sum(f.lstat().st_size for f in (stage.root / "venv").rglob("*")) / 2**20
    figures(steps=steps, live=live, venv=f"{added:.0f} MB")
