"""A load whose clients record how a request ended without an answer.

`refused`: the listener was closed. `closed`: a kept-alive connection ended without a byte of an
answer. A client may repeat these two if the service did nothing for them. `dropped`: a new
connection ended without a byte of an answer. `broken`: the answer is incomplete. The last two are
failures of the service.
"""

import time
from typing import Any

from tests.support.database import run_sql
from tests.support.load import Client, Load, Record

LOST = {"RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"}
UNLIMITED = {"MAX_TASKS_PER_USER": "1000000"}  # for services under a long load
REFUSED_PAUSE = 0.2  # seconds, so that a client does not ask a stopped service thousands of times


class Caller(Client):
    """A client that records its requests that got no answer."""

    def __init__(self, port: int, token: str | None = None) -> None:
        super().__init__(port, token)
        self.endings: list[str] = []
        self.reconnect = False  # for the next request

    def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        if self.reconnect:
            self.close()
            self.reconnect = False
        kept = self._conn is not None
        status, answer, sent = super().__call__(method, path, body, **headers)
        if status == 0:
            ending = _ending(answer["error"]["code"], kept)
            answer = {"error": {"code": ending}}
            self.endings.append(ending)
            if ending == "refused":
                time.sleep(REFUSED_PAUSE)
        return status, answer, sent

    def local_port(self) -> int | None:
        """Return the local port of its connection, or None without one."""
        sock = self._conn and self._conn.sock
        return sock.getsockname()[1] if sock else None


def _ending(error: str, kept: bool) -> str:
    if error == "ConnectionRefusedError":
        return "refused"
    if error in LOST:
        return "closed" if kept else "dropped"
    return "dropped" if error == "TimeoutError" else "broken"


class Callers(Load):
    """A load whose clients are `Caller`s."""

    client_class = Caller


def count_unanswered(record: Record, url: str) -> int:
    """Count the tasks that were created for requests without an answer."""
    titles = {title for (title,) in run_sql(url, "SELECT title FROM tasks")}
    return len(titles - set(record.created))
