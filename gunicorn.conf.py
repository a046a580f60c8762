"""gunicorn's settings; it reads this file by itself, before it forks."""

import os
import random
from typing import Any

from taskflow.config import load_config_or_exit
from taskflow.figures import figures
from taskflow.logs import log_config

_config = load_config_or_exit(production=True)

bind = f"0.0.0.0:{_config.port}"
worker_class = "taskflow.worker.Worker"
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
logger_class = "taskflow.worker.Logger"
logconfig_dict = log_config(_config.log_level)


def on_starting(server: Any) -> None:
    """Warn of limits that several processes would each count for themselves."""
    if server.cfg.workers > 1 and _config.rate_limit_storage == "memory://":
        server.log.warning("RATE_LIMIT_STORAGE is memory://: each worker counts for itself")


def pre_fork(server: Any, worker: Any) -> None:
    """Choose where the worker counts its metrics."""
    figures.assign(worker.age)


def post_fork(server: Any, worker: Any) -> None:
    """Join the metrics of the other workers, and keep each worker on a core of its own.

    Its threads take turns by the GIL; across cores each turn costs more than the request (a bare
    Flask worker: 500 µs against 220). The first core is drawn, so that the instances that share
    a machine do not all take the same.
    """
    figures.join(worker.age)
    if _config.web_affinity and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[(_first_core + worker.age) % len(cores)]})


def child_exit(server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that is gone; its counters go on counting."""
    figures.leave(worker.age)
