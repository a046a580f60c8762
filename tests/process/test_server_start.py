"""The server starts only with settings that it honours, and names any other in one line."""

import json
import re
from pathlib import Path

import pytest

from tests.support.service import Service, free_port, procfile, production_env, run

NOWHERE = f"postgresql://127.0.0.1:{free_port()}/taskflow"


@pytest.mark.parametrize("value", ["0", "abc", "-1", "1.5", "2 "])
def test_a_bad_number_of_workers_stops_the_start_with_one_line(value: str) -> None:
    done = run(procfile("web"), production_env(NOWHERE, WEB_CONCURRENCY=value))
    assert done.returncode == 1
    assert re.fullmatch(r"server: WEB_CONCURRENCY must be a whole number .*\n", done.stderr)


def test_an_empty_number_of_workers_counts_as_unset() -> None:
    service = Service(NOWHERE, WEB_CONCURRENCY="")
    assert len(service.workers()) == 1
    service.stop()


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--certfile README.md", "certfile"),
        ("--keyfile README.md", "keyfile"),
        ("--access-logfile -", "accesslog"),
        ("--http2-cleartext upgrade", "http2_cleartext"),
        ("--proxy-protocol v1", "proxy_protocol"),
        ("--protocol uwsgi", "protocol"),
        ("--statsd-host 127.0.0.1:8125", "statsd_host"),
    ],
)
def test_a_setting_that_is_not_honoured_stops_the_start_with_one_line(
    option: str, setting: str
) -> None:
    env = production_env(NOWHERE, PORT=str(free_port()), WEB_WORKER="buffered")
    done = run(f"{procfile('web')} {option}", env)
    assert done.returncode == 1
    assert re.fullmatch(f"server: {setting} is not supported: .+\n", done.stderr)


def write_patch(folder: Path, code: str) -> str:
    """Write code that Python runs when it starts, and return the PYTHONPATH for it."""
    (folder / "sitecustomize.py").write_text(code)
    return str(folder)


def test_a_gunicorn_that_was_not_tried_stops_the_start_with_one_line(tmp_path: Path) -> None:
    path = write_patch(tmp_path, "import gunicorn; gunicorn.version_info = (27, 1, 0)")
    env = production_env(NOWHERE, PORT=str(free_port()), WEB_WORKER="buffered", PYTHONPATH=path)
    done = run(procfile("web"), env)
    assert done.returncode == 1
    assert re.fullmatch("server: gunicorn .* has not been tried, .*\n", done.stderr)


def test_a_refused_affinity_is_a_warning(tmp_path: Path) -> None:
    refuse = "import os\ndef refuse(*_): raise PermissionError(1, 'not here')\n"
    path = write_patch(tmp_path, f"{refuse}os.sched_setaffinity = refuse")
    service = Service(NOWHERE, PYTHONPATH=path)
    lines = [json.loads(line) for line in service.stop()]
    [warning] = [line["message"] for line in lines if line["level"] == "WARNING"]
    assert warning.startswith("WEB_AFFINITY has no effect here: ")


@pytest.mark.parametrize(
    ("worker", "name"), [("buffered", "BufferedWorker"), ("gthread", "gthread")]
)
def test_web_worker_chooses_the_worker(worker: str, name: str) -> None:
    service = Service(NOWHERE, WEB_WORKER=worker)
    messages = [json.loads(line)["message"] for line in service.stop()]
    assert f"Using worker: {name}" in messages
    assert service.process.returncode == 0


def test_a_system_without_epoll_is_served_too(tmp_path: Path) -> None:
    hide = "import select, selectors\ndel select.epoll\n"
    path = write_patch(tmp_path, f"{hide}selectors.DefaultSelector = selectors.PollSelector")
    service = Service(NOWHERE, WEB_WORKER="buffered", PYTHONPATH=path)
    assert [service.get("/health/live")[0] for _ in range(3)] == [200, 200, 200]
    service.stop()
    assert service.process.returncode == 0
