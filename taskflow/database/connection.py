"""One connection to PostgreSQL: how it is opened, and how it runs a statement."""

import contextlib
import os
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, parse_dsn

from taskflow.config import Config
from taskflow.database.prepared import STALE, PreparedStatements

Row = tuple[Any, ...]
Params = Mapping[str, Any]


class Connection(connection):
    """A connection in autocommit that knows its last use and the deadline of its statement."""

    # Statements that precede each of ours, where the connection could not start with them.
    preamble = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.autocommit = True
        self.used_at = 0.0
        self.deadline = float("inf")
        self._prepared = PreparedStatements()
        self._poll = select.poll()  # select() can't take file descriptors above 1023
        self._poll.register(self.fileno(), select.POLLIN)

    def is_idle(self) -> bool:
        """Return whether the connection is usable and in no transaction."""
        return self.get_transaction_status() == TRANSACTION_STATUS_IDLE

    def is_alive(self) -> bool:
        """Return whether the server has left the connection open, as far as the socket shows.

        An idle connection has nothing to read unless the server has closed it, so a look at the
        socket finds a dead connection without a round trip.
        """
        return not self.closed and not self._poll.poll(0)

    def run(self, sql: str, params: Params, seconds: float, prepare: bool = False) -> list[Row]:
        """Run a statement and return its rows; another thread ends the wait after `seconds`.

        A prepared statement that has become stale is prepared again.
        """
        if not prepare or self.preamble:
            return self._execute(self.preamble + sql, params, seconds)
        try:
            return self._execute(self._prepared.command(sql), params, seconds)
        except psycopg2.Error as error:
            if error.pgcode not in STALE or not self.is_idle():
                raise
        self._execute(self._prepared.clear(), {}, seconds)
        return self._execute(self._prepared.command(sql), params, seconds)

    def _execute(self, command: str, params: Params, seconds: float) -> list[Row]:
        self.deadline = time.monotonic() + seconds
        try:
            with self.cursor() as cursor:
                # With None psycopg2 leaves a percent sign alone.
                cursor.execute(command, params or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            self.deadline = float("inf")

    def cut_off(self) -> None:
        """End another thread's wait for an overdue answer, as if the server had hung up."""
        with contextlib.suppress(OSError, psycopg2.Error):  # the answer came just now
            sock = socket.socket(fileno=os.dup(self.fileno()))
            with sock:
                if self.deadline < time.monotonic():
                    sock.shutdown(socket.SHUT_RDWR)


class Connector:
    """Opens connections with the service's settings, whatever stands between it and PostgreSQL."""

    def __init__(self, config: Config) -> None:
        self._parameters = connection_parameters(config)
        milliseconds = f"{config.db_statement_timeout * 1000:.0f}ms"
        self._settings = {
            "TimeZone": "UTC",  # PostgreSQL builds the JSON of a task
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            # A prepared statement is planned once, perhaps while the tables are nearly empty. All
            # statements of the service find their rows by an index.
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
        }
        self._takes_options = True

    def open(self) -> Connection:
        """Open a connection; raises `psycopg2.OperationalError`.

        PgBouncer in transaction mode takes no start-up options. A SET would outlive the
        transaction and reach other clients there, so each statement brings a SET LOCAL along, in
        the same round trip.
        """
        if self._takes_options and (conn := self._open_with_options()):
            return conn
        self._takes_options = False
        conn = _connect(self._parameters)
        conn.preamble = "".join(f"SET LOCAL {k} = '{v}'; " for k, v in self._settings.items())
        return conn

    def _open_with_options(self) -> Connection | None:
        ours = "".join(f"-c {name}={value} " for name, value in self._settings.items())
        theirs = self._parameters.get("options", "")
        options = f"{ours}-c IntervalStyle=iso_8601 {theirs}"
        try:
            conn = _connect({**self._parameters, "options": options})
        except psycopg2.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
            return None
        # PgBouncer may be told to ignore options: IntervalStyle shows whether they took effect.
        if conn.info.parameter_status("IntervalStyle") == "iso_8601":
            return conn
        conn.close()
        return None


def _connect(parameters: dict[str, Any]) -> Connection:
    conn: Connection = psycopg2.connect(connection_factory=Connection, **parameters)
    return conn


def connection_parameters(config: Config) -> dict[str, Any]:
    """Return libpq's keywords for DATABASE_URL; the URL's own keywords win over our defaults."""
    defaults: dict[str, Any] = {
        "application_name": "taskflow",
        "client_encoding": "UTF8",
        "connect_timeout": 2,  # seconds, per host
        # A network that has gone silent ends a connection within these, not after hours.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 5000,  # milliseconds
        "target_session_attrs": "read-write",  # follows the primary where there are several hosts
    }
    if config.db_sslmode:
        defaults["sslmode"] = config.db_sslmode
    return {**defaults, **parse_dsn(config.database_url or "")}
