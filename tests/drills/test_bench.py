"""A short run of the benchmark succeeds; its figures are too few to mean anything."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.run import FLOOR, LISTS, LOADS, SETTINGS
from tests.support.drills import SHORT
from tests.support.service import ROOT

PARTS = ["loads", "logins"] if SHORT else ["loads", "settings", "logins", "growth"]
SMALL = ["--seconds", "1", "--rounds", "2", "--users", "2", "--tasks", "25"]
SIZES = [1000, 2000]


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is missing")
def test_the_benchmark_measures_every_load_without_an_error(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.run", *PARTS, *SMALL, "--json", file]
    sizes = ",".join(map(str, SIZES))
    done = subprocess.run(
        [*command, "--sizes", sizes], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    parts = json.loads(file.read_text())
    floors = {f"floor: {load}" for load in (*FLOOR, "prepared, gthread")}
    assert set(parts["loads"]) == floors | {"get, gthread", *LOADS}
    if not SHORT:
        assert set(parts["settings"]) == set(SETTINGS)
        assert set(parts["growth"]) == {f"{name} | {s:,}" for name, *_ in LISTS for s in SIZES}
    assert len(parts["logins"]) == 4
    for part in parts.values():
        for name, [figures, *_] in part.items():
            assert f"| {name.partition(' | ')[0]} |" in done.stdout
            assert figures["errors"] == 0, name
            assert min(figures["rate"], figures["p50"], figures["cpu"], figures["memory"]) > 0
