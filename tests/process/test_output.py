"""The service serves even if its log can't be written, and each log line stays whole."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from taskflow.config import Config
from tests.support.service import ROOT, free_port, procfile, production_env

LONG = "/" + "%C3%A9" * 1300
WORKERS = {"WEB_CONCURRENCY": "2"}


@contextmanager
def serving_into(
    stdout: Any, config: Config, **settings: Any
) -> Iterator[tuple[int, IO[str], int]]:
    """Run the web process with a stdout, and return its port, its stderr and its process id."""
    port = free_port()
    process = subprocess.Popen(
        ["sh", "-c", f"exec {procfile('web')}{settings.pop('redirection', '')}"],
        cwd=ROOT,
        env=production_env(config.database_url or "", PORT=str(port), **settings),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                assert ask(port, "/health/live") == 200
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert process.stderr
        yield port, process.stderr, process.pid
    finally:
        process.terminate()
        process.wait(40)
        if process.stderr:
            process.stderr.close()


def ask(port: int, *paths: str) -> int:
    """Send GETs on one connection, and return the last status."""
    conn = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for path in paths:
            conn.request("GET", path)
            response = conn.getresponse()
            response.read()
        return response.status
    finally:
        conn.close()


def ask_at_once(port: int, clients: int, requests: int) -> None:
    """Send requests with a long path from several clients."""
    with ThreadPoolExecutor(clients) as threads:
        for status in threads.map(lambda _: ask(port, *[LONG] * requests), range(clients)):
            assert status == 404


def test_lines_stay_whole_when_the_reader_is_slower_than_the_service(config: Config) -> None:
    reader, writer = os.pipe()
    pieces: list[bytes] = []

    def read_slowly() -> None:
        while piece := os.read(reader, 3000):
            pieces.append(piece)
            time.sleep(0.001)

    slow = threading.Thread(target=read_slowly)
    with serving_into(writer, config, **WORKERS) as (port, _, _):
        os.close(writer)
        slow.start()
        ask_at_once(port, 8, 25)
    slow.join()
    os.close(reader)
    lines = [json.loads(line) for line in b"".join(pieces).decode().splitlines()]
    requests = [line for line in lines if line["logger"] == "taskflow.request"]
    assert len(requests) == 200
    assert {line["path"] for line in requests} == {"/" + "é" * 1023}


@pytest.mark.parametrize("is_shared", [False, True], ids=["stdout only", "stderr too"])
def test_requests_are_served_when_nobody_reads_the_log(config: Config, is_shared: bool) -> None:
    reader, writer = os.pipe()
    redirection = " 2>&1" if is_shared else ""
    with serving_into(writer, config, redirection=redirection, **WORKERS) as (port, _, _):
        started = time.monotonic()
        ask_at_once(port, 8, 25)  # 3 KB each into a pipe of 64 KB
        assert time.monotonic() - started < 10
        os.set_blocking(reader, False)
        text = b""
        deadline = time.monotonic() + 10
        while text.count(b'"status": 404') < 200 and time.monotonic() < deadline:
            try:
                text += os.read(reader, 65536)
            except BlockingIOError:
                time.sleep(0.01)
    os.close(writer)
    os.close(reader)
    # All lines waited in memory, since they are fewer than 4 MB.
    assert text.count(b'"status": 404') == 200


def test_requests_are_served_when_the_reader_of_the_log_is_gone(config: Config) -> None:
    reader, writer = os.pipe()
    with serving_into(writer, config) as (port, stderr, _):
        os.close(reader)
        ask_at_once(port, 2, 10)
        assert stderr.readline().startswith("taskflow: log lines are lost")
    os.close(writer)


def test_a_full_disk_costs_lines_and_one_warning(config: Config) -> None:
    with Path("/dev/full").open("wb") as full, serving_into(full, config) as (port, stderr, _):
        ask_at_once(port, 2, 10)
        warnings = [stderr.readline(), stderr.readline()]  # of the master and of the worker
    for warning in warnings:
        assert warning.startswith("taskflow: log lines are lost")
        assert "No space left" in warning


def test_requests_are_served_when_stdout_is_closed(config: Config) -> None:
    with serving_into(None, config, redirection=" >&-") as (port, stderr, _):
        ask_at_once(port, 2, 10)
        assert "it is closed" in stderr.readline()


def test_a_file_has_no_torn_line_after_its_disk_was_full(config: Config, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as file, serving_into(file, config) as (port, _, pid):
        [worker] = psutil.Process(pid).children()
        size = log.stat().st_size
        worker.rlimit(psutil.RLIMIT_FSIZE, (size + 4000, psutil.RLIM_INFINITY))
        ask(port, *[LONG] * 5)  # the disk takes one line and a half
        worker.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        ask(port, *["/after"] * 5)
    whole, torn = [], 0
    for line in log.read_text(errors="replace").splitlines():
        try:
            whole.append(json.loads(line))
        except ValueError:
            torn += 1
    assert torn == 1
    assert [line["path"] for line in whole if "path" in line].count("/after") == 5
    [lost] = [line["message"] for line in whole if line["logger"] == "taskflow.output"]
    assert lost == "Lines lost because stdout could not take them: 4"


def test_a_line_that_one_worker_tears_spoils_no_line_of_another(tmp_path: Path) -> None:
    script = """
import logging, os, resource
from taskflow.output import StdoutHandler

handler = StdoutHandler()

def log(text):
    handler.handle(logging.makeLogRecord({"msg": text}))

log("first")
if not (worker := os.fork()):
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, resource.RLIM_INFINITY))  # a full disk
    log("torn")
    os._exit(0)
os.waitpid(worker, 0)
log("last")
"""
    log = tmp_path / "log"
    with log.open("ab") as file:
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=file, check=True)
    assert log.read_text().splitlines() == ["first", "to", "last"]
