"""gunicorn's settings; it reads this file by itself, before it forks."""

import atexit
import os
import random
import shutil
import tempfile
from typing import Any

# prometheus_client looks for it when it is imported, which the lines below do.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    _metrics = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="taskflow-")
    _master = os.getpid()
    atexit.register(lambda: os.getpid() == _master and shutil.rmtree(_metrics, ignore_errors=True))

from prometheus_client import multiprocess

from taskflow.config import load_config_or_exit
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
limit_request_line = 8190  # the longest list of filters that the API takes fits in
_first_core = random.randrange(1024)  # noqa: S311 (no secret)
logger_class = "taskflow.worker.Logger"
logconfig_dict = log_config(_config.log_level)


def on_starting(server: Any) -> None:
    """Warn of limits that several processes would each count for themselves."""
    if server.cfg.workers > 1 and _config.rate_limit_storage == "memory://":
        server.log.warning("RATE_LIMIT_STORAGE is memory://: each worker counts for itself")


def post_fork(server: Any, worker: Any) -> None:
    """Keep each worker on a core of its own.

    Its threads take turns by the GIL; across cores each turn costs more than the request (a bare
    Flask worker: 500 µs against 220). The first core is drawn, so that the instances that share
    a machine do not all take the same.
    """
    if _config.web_affinity and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[(_first_core + worker.age) % len(cores)]})


def child_exit(server: Any, worker: Any) -> None:
    """Forget the gauges of a worker that is gone; its counters go on counting."""
    multiprocess.mark_process_dead(worker.pid)
