"""Two linters of OpenAPI documents find no fault in the document of the service."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support.service import ROOT

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")

# These variables stop the linters' telemetry, and their search for newer versions.
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "CI": "true"}
LINTERS = {
    "spectral": ("npx", "spectral", "lint", "--fail-severity=hint", "--ruleset=spectral.yaml"),
    "redocly": ("npx", "redocly", "lint", "--config=redocly.yaml", "--format=stylish"),
}

NOTHING = {"spectral": "No results with a severity of 'hint' or higher found!\n", "redocly": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with the linters."""
    folder = tmp_path_factory.mktemp("linters") / "linters"
    shutil.copytree(ROOT / "tests/process/openapi_linters", folder)
    done = run(folder, "npm", "ci")
    assert done.returncode == 0, done.stdout + done.stderr
    yield folder
    shutil.rmtree(folder)  # 100 MB


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **QUIET}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


def lint(folder: Path, linter: str, document: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    (folder / "openapi.json").write_text(json.dumps(document))
    return run(folder, *LINTERS[linter], "openapi.json")


@pytest.mark.parametrize("linter", LINTERS)
def test_the_linter_finds_nothing_in_the_document(folder: Path, linter: str, app: Flask) -> None:
    done = lint(folder, linter, app.test_client().get("/openapi.json").json)
    assert (done.returncode, done.stdout) == (0, NOTHING[linter]), done.stderr


@pytest.mark.parametrize("linter", LINTERS)
def test_the_linter_finds_a_mistake(folder: Path, linter: str, app: Flask) -> None:
    document = app.test_client().get("/openapi.json").json
    del document["paths"]["/health"]["get"]["operationId"]
    done = lint(folder, linter, document)
    assert "operation-operationId" in done.stdout, done.stderr
