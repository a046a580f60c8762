"""gunicorn's settings. gunicorn finds and reads this file itself, before it forks the workers."""

import os
import random
from functools import partial
from typing import Any

from server.logs import Logger
from server.settings import Lane, Settings
from server.worker import build_worker_class
from taskflow.config import load_config_or_exit
from taskflow.figures import figures
from taskflow.http.parsing import MAX_BODY
from taskflow.logs import log_config
from taskflow.refusals import answer_refusal

_config = load_config_or_exit(production=True)

bind = f"0.0.0.0:{_config.port}"
workers = _config.web_concurrency
if _config.web_worker == "buffered":
    worker_class = build_worker_class(
        Settings(
            max_body=MAX_BODY,
            refuse=partial(answer_refusal, _config),
            lanes=(
                # Health probes are answered even if all other threads wait for the database.
                Lane(r"(GET|HEAD) /health", threads=4),
                # Hashing a password takes 19 MB and a whole core; other requests go on meanwhile.
                Lane(
                    r"(POST|PUT|DELETE) /api/v1/auth/(register|login|password|email|me)", threads=4
                ),
            ),
        )
    )
else:
    worker_class = "gthread"
threads = _config.web_threads
worker_connections = 900  # leaves room below 1,024, a common limit of open files
# The routers of PaaS platforms keep idle connections open for up to 90 s. If the worker closes one
# first, a request that is already on its way becomes a 502. A stopping worker does not wait for
# idle connections.
keepalive = 95
# Heroku and Render send SIGKILL 30 s after SIGTERM, so the worker has to exit before that.
graceful_timeout = 28
# The application reads the headers of proxies (TRUSTED_PROXIES), so gunicorn uses none of them. It
# is quicker to trust every peer with no header than to check each peer's address.
forwarded_allow_ips = "*"
forwarder_headers = ""
secure_scheme_headers = {}
control_socket_disable = True
# gunicorn creates an empty file for each worker that it starts, and can't replace a dead worker
# without one. This folder is in memory, so no clean-up job removes it.
if os.access("/dev/shm", os.W_OK):  # noqa: S108 (the file names are random)
    worker_tmp_dir = "/dev/shm"  # noqa: S108
limit_request_line = 8190  # has room for the longest list of filters that the API accepts
_first_core = random.randrange(1024)  # noqa: S311 (no secret)
logger_class = Logger
logconfig_dict = log_config(_config.log_level)


def on_starting(arbiter: Any) -> None:
    """Warn if each of several workers would count the rate limits for itself."""
    if arbiter.cfg.workers > 1 and _config.rate_limit_storage == "memory://":
        arbiter.log.warning("RATE_LIMIT_STORAGE is memory://: each worker counts for itself")


def pre_fork(arbiter: Any, worker: Any) -> None:
    """Choose the part of the shared memory where the worker counts its metrics."""
    figures.assign(worker.age)


def post_fork(arbiter: Any, worker: Any) -> None:
    """Join the shared metrics, and pin the worker to one core.

    The threads of a worker take turns holding the GIL. Passing the GIL to another core costs more
    than a request (a bare Flask worker: 500 µs against 220). The first core is random, so that
    instances on the same machine do not all choose the same one.
    """
    figures.join(worker.age)
    if _config.web_affinity and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        try:
            os.sched_setaffinity(0, {cores[(_first_core + worker.age) % len(cores)]})
        except OSError as error:  # a sandbox may forbid it
            arbiter.log.warning("WEB_AFFINITY has no effect here: %s", error)


def child_exit(arbiter: Any, worker: Any) -> None:
    """Reset the gauges of a worker that has exited; its counters stay in the totals."""
    figures.leave(worker.age)
