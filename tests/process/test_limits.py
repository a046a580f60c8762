"""Several workers share their budgets in Redis, or warn that they don't."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from taskflow.config import Config
from tests.support.load import wait_for
from tests.support.service import free_port, serving
from tests.support.windows import leave_time_in_the_minute


def is_listening(port: int) -> bool:
    """Return whether a process accepts connections on a port."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def redis() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_listening(port), 20)
        yield port, process
    finally:
        process.kill()
        process.wait()


def test_workers_share_their_budgets_in_redis(
    config: Config, redis: tuple[int, subprocess.Popen[bytes]]
) -> None:
    port, process = redis
    settings = {"RATE_LIMIT": "20/minute", "RATE_LIMIT_STORAGE": f"redis://127.0.0.1:{port}"}
    with serving(config.database_url or "", WEB_CONCURRENCY="2", **settings) as service:
        leave_time_in_the_minute()
        statuses = [service.get("/openapi.json")[0] for _ in range(25)]
        assert statuses == [200] * 20 + [429] * 5
        process.kill()
        process.wait()
        # Without Redis every request passes at once, and each worker warns of it once.
        started = time.monotonic()
        for _ in range(10):
            status, _, headers = service.get("/openapi.json")
            assert (status, "X-RateLimit-Limit" in headers) == (200, False)
        assert time.monotonic() - started < 5
        lines = service.stop()
    warnings = [line for line in lines if "Rate limits are off" in line]
    assert 1 <= len(warnings) <= 2


def test_several_workers_without_a_shared_storage_log_a_warning(config: Config) -> None:
    with serving(config.database_url or "", WEB_CONCURRENCY="2") as service:
        lines = service.stop()
    assert sum("each worker counts for itself" in line for line in lines) == 1
