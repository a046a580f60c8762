"""Metrics are counted without files, so no trouble with the disk fails a request."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from flask import Flask

from taskflow.config import Config
from taskflow.figures import CELLS, NAMES, Figures, Series
from tests.support.metrics import TOKEN, send_traffic
from tests.support.service import Service, serving
from tests.support.users import User

METRICS = {"METRICS_TOKEN": "the-metrics-token"}


def test_regions_add_up_and_pass_to_later_workers() -> None:
    figures = Figures()

    def in_a_worker(age: int) -> None:
        figures.assign(age)
        if not (pid := os.fork()):
            figures.join(age)
            figures.add(Series("count", ("a",)), 2, (0, 1), (1, 0.5))
            figures.set(Series("gauge", is_gauge=True), 7)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

    in_a_worker(1)
    in_a_worker(2)
    assert figures.totals() == {
        Series("count", ("a",)): [2, 1],
        Series("gauge", is_gauge=True): [14],
    }
    figures.leave(1)
    assert figures.totals()[Series("gauge", is_gauge=True)] == [7]
    in_a_worker(3)  # in the region of the first
    assert figures.totals()[Series("count", ("a",))] == [3, 1.5]
    assert figures._assigned == {2: 2, 3: 1}


def test_a_process_without_a_region_counts_for_itself() -> None:
    figures = Figures()
    figures.add(Series("count"), 1, (0, 1))
    if not (pid := os.fork()):
        figures.add(Series("count"), 1, (0, 5))
        os._exit(figures.totals() != {Series("count"): [5]})
    assert os.waitpid(pid, 0)[1] == 0
    assert figures.totals() == {Series("count"): [1]}


@pytest.mark.parametrize(
    ("label", "size"), [("", CELLS // 2), ("x" * (NAMES // 10), 1)], ids=["cells", "names"]
)
def test_a_series_without_room_is_lost_with_one_warning(
    caplog: pytest.LogCaptureFixture, label: str, size: int
) -> None:
    figures = Figures()
    for number in range(20):
        for _ in range(2):
            figures.add(Series("count", (f"{number}{label}",)), size, (0, 1))
    assert 1 <= len(figures.totals()) < 20
    assert set(map(tuple, figures.totals().values())) == {(2, *[0] * (size - 1))}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_more_workers_than_regions_are_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("taskflow.figures.REGIONS", 3)
    figures = Figures()
    for age in range(4):
        figures.assign(age)
    figures.join(3)
    figures.add(Series("count"), 1, (0, 1))
    assert "not shared" in caplog.text


def test_the_time_of_a_statement_is_counted_under_its_name(app_with: Callable[..., Flask]) -> None:
    app = app_with(metrics_token="the-metrics-token")
    User(app, "metrics@example.com").task()
    text = app.test_client().get("/metrics", headers=TOKEN).text
    assert 'taskflow_db_query_seconds_count{statement="insert_task"} ' in text
    assert 'statement="other"' not in text


def clean_away(folder: Path, service: Service) -> None:
    """Delete the temporary folder."""
    shutil.rmtree(folder)


def fill(folder: Path, service: Service) -> None:
    """Let no file grow, as on a full disk, neither now nor in processes that start later."""
    for pid in [service.process.pid, *service.workers()]:
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize("fault", [clean_away, fill])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_are_served_after_the_temporary_folder_failed(
    config: Config, tmp_path: Path, workers: str, fault: Callable[[Path, Service], None]
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    settings = {"TMPDIR": str(folder), "WEB_CONCURRENCY": workers, **METRICS}
    with serving(config.database_url or "", **settings) as service:
        send_traffic(service)
        fault(folder, service)
        service.kill_a_worker()
        for _ in range(4):
            assert service.get("/health/live")[0] == 200
            assert service.get("/health")[0] == 200
        text = service.text("/metrics", TOKEN)
    series = 'taskflow_http_requests_total{method="POST",route="/api/v1/tasks",status="201"}'
    assert f"{series} 20" in text
