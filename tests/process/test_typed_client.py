"""A typed client generated from the OpenAPI document works, and mistakes do not compile."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskflow.config import Config
from tests.support.service import ROOT, Service, serving

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


@pytest.fixture(scope="module")
def service(config: Config) -> Iterator[Service]:
    with serving(config.database_url or "", LOG_LEVEL="error") as service:
        yield service


@pytest.fixture(scope="module")
def project(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the programs, compiled with the types of the running service."""
    folder = tmp_path_factory.mktemp("typed") / "client"
    shutil.copytree(ROOT / "tests/process/typed_client", folder)
    run(folder, "npm", "ci")
    document = f"http://127.0.0.1:{service.port}/openapi.json"
    # By default, the generator makes a body's fields required even if they have a default.
    optional = "--default-non-nullable=false"
    run(folder, "npx", "openapi-typescript", document, "--output", "openapi.ts", optional)
    (folder / "errors").write_text(run(folder, "npx", "tsc", status=2))
    return folder


def run(folder: Path, *command: str, status: int = 0) -> str:
    """Run a command in a folder, and return its output."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_only_the_marked_mistakes_fail_to_compile(project: Path) -> None:
    errors = (project / "errors").read_text()
    found = set(re.findall(r"^(\w+\.ts)\((\d+),\d+\): error", errors, re.MULTILINE))
    lines = enumerate((project / "mistakes.ts").read_text().splitlines(), 1)
    marked = {("mistakes.ts", str(n)) for n, line in lines if line.endswith("// wrong")}
    assert len(marked) == 20
    assert found == marked, errors


def test_the_typed_client_works(project: Path, service: Service) -> None:
    said = run(project, "node", "client.js", f"http://127.0.0.1:{service.port}")
    assert json.loads(said) == {
        "created": 1,
        "deleted": True,
        "restored": "Buy milk",
        "total": 2,
        "byStatus": {"pending": 1, "in_progress": 0, "completed": 1},
        "tags": [{"tag": "shop", "count": 1}],
        "status": "completed",
        "titles": ["Buy milk"],
        "next": None,
        "advice": "read it again",
    }
