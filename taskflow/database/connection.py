"""One connection to PostgreSQL: how it is opened, and how it runs a statement."""

import contextlib
import os
import re
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

    # SET statements that precede each statement if the connection could not start with them.
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
                # psycopg2 interprets percent signs unless the parameters are None.
                cursor.execute(command, params or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            self.deadline = float("inf")

    def cut_off(self) -> None:
        """End another thread's wait for an overdue answer, as if the server had hung up."""
        with contextlib.suppress(OSError, psycopg2.Error):  # the answer has just arrived
            sock = socket.socket(fileno=os.dup(self.fileno()))
            with sock:
                if self.deadline < time.monotonic():
                    sock.shutdown(socket.SHUT_RDWR)


class RefusedError(psycopg2.OperationalError):
    """The server can be reached but refuses the service, because a setting is wrong."""


# libpq reads these variables itself and sends them at the start of a connection. They could
# override the settings of this module, or make the server refuse the connection. The environment
# must not change how times and texts look.
_ENVIRONMENT = ("PGTZ", "PGDATESTYLE", "PGGEQO", "PGOPTIONS", "PGCLIENTENCODING")

# Defaults of a role or a database that would change what a statement means.
_FIXED_OPTIONS = (
    r"-c DateStyle=ISO,\ YMD -c IntervalStyle=iso_8601 -c standard_conforming_strings=on "
    r"-c default_transaction_isolation=read\ committed"
)

# Databases whose servers accept no start-up options; a process finds that out once.
_WITHOUT_OPTIONS: set[str] = set()

# In libpq's error text, a message of the server follows its severity and two spaces. An error at
# the start of a connection has no SQLSTATE, so its text has to tell a passing state from a wrong
# setting.
_ANSWER = re.compile(r"\b[^\s:]+:  ")
_PASSING = re.compile(
    r"the database system is|too many|connection slots|no more connections|terminating|timeout"
    r"|timed.out|cannot connect|can't connect|login has been failing|crashed|paused|suspended",
    re.IGNORECASE,
)


class Connector:
    """Opens connections with the service's settings, whatever stands between it and PostgreSQL."""

    def __init__(self, config: Config) -> None:
        for name in _ENVIRONMENT:
            os.environ.pop(name, None)
        self._parameters = connection_parameters(config)
        milliseconds = f"{config.db_statement_timeout * 1000:.0f}ms"
        self._settings = {
            "TimeZone": "UTC",
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            # A prepared statement is planned once, perhaps while the tables are nearly empty. All
            # statements of the service find their rows by an index.
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
        }
        self._key = repr(sorted(self._parameters.items()))

    def open(self) -> Connection:
        """Open a connection; raises `psycopg2.OperationalError`, or `RefusedError` among those.

        Some poolers accept no start-up options. With these, a SET would outlive the transaction and
        reach other clients, so a SET LOCAL precedes each statement, in the same round trip.
        """
        try:
            conn = self._open()
        except psycopg2.OperationalError as error:
            if _is_answer(error) and not _PASSING.search(str(error)):
                raise RefusedError(str(error)) from error
            raise
        encoding = conn.info.parameter_status("server_encoding")
        if encoding not in ("UTF8", None):  # a pooler may not report the encoding
            name = conn.info.dbname
            conn.close()
            raise RefusedError(f"database {name} is encoded in {encoding}, and TaskFlow needs UTF8")
        return conn

    def _open(self) -> Connection:
        if self._key in _WITHOUT_OPTIONS:
            return self._open_without_options()
        try:
            conn = self._open_with_options()
        except psycopg2.OperationalError as error:
            if not _is_answer(error):
                raise
            return self._open_after_refusal(error)
        if _has_options(conn):
            return conn
        conn.close()  # a pooler may be told to ignore options
        _WITHOUT_OPTIONS.add(self._key)
        return self._open_without_options()

    def _open_after_refusal(self, refusal: psycopg2.OperationalError) -> Connection:
        """Try without options, and find out whether the options were the reason.

        If the server now accepts options, the reason was another one, such as a server that was
        starting up.
        """
        try:
            conn = self._open_without_options()
        except psycopg2.OperationalError:
            raise refusal from None
        try:
            again = self._open_with_options()
        except psycopg2.OperationalError as error:
            if _PASSING.search(str(error)):
                return conn
        else:
            if _has_options(again):
                conn.close()
                return again
            again.close()
        _WITHOUT_OPTIONS.add(self._key)
        return conn

    def _open_with_options(self) -> Connection:
        ours = "".join(f" -c {name}={value}" for name, value in self._settings.items())
        # The last value of a setting wins: the URL's options can't override ours.
        options = f"{self._parameters.get('options', '')}{ours} {_FIXED_OPTIONS}"
        return _connect({**self._parameters, "options": options})

    def _open_without_options(self) -> Connection:
        conn = _connect({**self._parameters, "options": ""})
        settings = {"transaction_isolation": "read committed", **self._settings}
        conn.preamble = "".join(f"SET LOCAL {k} = '{v}'; " for k, v in settings.items())
        return conn


def _has_options(conn: Connection) -> bool:
    """Return whether the options took effect, judged by two that PostgreSQL reports."""
    status = conn.info.parameter_status
    return status("IntervalStyle") == "iso_8601" and status("DateStyle") == "ISO, YMD"


def _is_answer(error: psycopg2.OperationalError) -> bool:
    return _ANSWER.search(str(error)) is not None


def _connect(parameters: dict[str, Any]) -> Connection:
    conn: Connection = psycopg2.connect(connection_factory=Connection, **parameters)
    return conn


def connection_parameters(config: Config) -> dict[str, Any]:
    """Return libpq's keywords for DATABASE_URL; the URL's own keywords win over our defaults."""
    defaults: dict[str, Any] = {
        "application_name": "taskflow",
        "connect_timeout": 2,  # seconds, per host
        # With these, a connection ends within seconds of a network failure, not after hours.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 5000,  # milliseconds
        "target_session_attrs": "read-write",  # follows the primary where there are several hosts
    }
    if config.db_sslmode:
        defaults["sslmode"] = config.db_sslmode
    return {**defaults, **parse_dsn(config.database_url or ""), "client_encoding": "UTF8"}
