"""gunicorn's settings; it reads this file by itself, before it forks."""

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
                # Probes are answered when all other threads wait for the database.
                Lane(r"(GET|HEAD) /health", threads=4),
                # Hashing a password takes 19 MB and all of a core: others go on beside it.
                Lane(
                    r"(POST|PUT|DELETE) /api/v1/auth/(register|login|password|email|me)", threads=4
                ),
            ),
        )
    )
else:
    worker_class = "gthread"
threads = _config.web_threads
worker_connections = 900  # of the 1,024 descriptors that a process often may have
# The platforms' routers keep idle connections for up to 90 s; closing one first is a race that
# the client loses (502). A stopping worker does not wait for them.
keepalive = 95
# Heroku and Render kill 30 s after SIGTERM: be gone before.
graceful_timeout = 28
# What proxies say of a client is the application's to read (TRUSTED_PROXIES). Nothing is taken from
# anybody, which is quicker than to look up from whom.
forwarded_allow_ips = "*"
forwarder_headers = ""
secure_scheme_headers = {}
control_socket_disable = True
# gunicorn makes an empty file for each worker that it starts. This folder, of memory, can't be
# cleaned away; without the file, a worker that has died would not be replaced.
if os.access("/dev/shm", os.W_OK):  # noqa: S108 (the names are drawn)
    worker_tmp_dir = "/dev/shm"  # noqa: S108
limit_request_line = 8190  # the longest list of filters that the API takes fits in
_first_core = random.randrange(1024)  # noqa: S311 (no secret)
logger_class = Logger
logconfig_dict = log_config(_config.log_level)


def on_starting(arbiter: Any) -> None:
    """Warn of limits that several processes would each count for themselves."""
    if arbiter.cfg.workers > 1 and _config.rate_limit_storage == "memory://":
        arbiter.log.warning("RATE_LIMIT_STORAGE is memory://: each worker counts for itself")


def pre_fork(arbiter: Any, worker: Any) -> None:
    """Choose where the worker counts its metrics."""
    figures.assign(worker.age)


def post_fork(arbiter: Any, worker: Any) -> None:
    """Join the metrics of the other workers, and keep each worker on a core of its own.

    Its threads take turns by the GIL; across cores each turn costs more than the request (a bare
    Flask worker: 500 µs against 220). The first core is drawn, so that the instances that share
    a machine do not all take the same.
    """
    figures.join(worker.age)
    if _config.web_affinity and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        try:
            os.sched_setaffinity(0, {cores[(_first_core + worker.age) % len(cores)]})
        except OSError as error:  # a sandbox may forbid it
            arbiter.log.warning("WEB_AFFINITY has no effect here: %s", error)


def child_exit(arbiter: Any, worker: Any) -> None:
    """Forget the gauges of a worker that is gone; its counters go on counting."""
    figures.leave(worker.age)
