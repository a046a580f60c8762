"""Clients that record every acknowledged write, to compare it with the database afterwards."""

import json
import random
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

from tests.support.credentials import PASSWORD
from tests.support.database import run_sql

CATALOG_503 = {"database_unavailable", "pool_exhausted", "query_timeout"}


@dataclass
class Answer:
    """An answer, or the failure to get one (status 0), with its time and duration."""

    at: float
    seconds: float
    method: str
    status: int
    code: str
    retry_after: bool


@dataclass
class Record:
    """The answers that the clients got, and the writes that were acknowledged."""

    answers: list[Answer] = field(default_factory=list)
    created: dict[str, str] = field(default_factory=dict)  # title: id, of each 201
    updated: dict[str, str] = field(default_factory=dict)  # id: the last acknowledged description
    unsure: set[str] = field(default_factory=set)  # ids of tasks whose last update got no answer

    def statuses(self, since: float = 0, until: float = float("inf")) -> Counter[int]:
        return Counter(a.status for a in self.answers if since <= a.at < until)

    def codes(self) -> Counter[str]:
        return Counter(a.code for a in self.answers if a.code)

    def longest(self) -> float:
        return max(a.seconds for a in self.answers)


class Client:
    """A client with one keep-alive connection, which the client reopens after it was closed."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port, self.token = port, token
        self.cookies: dict[str, str] = {}
        self._conn: HTTPConnection | None = None

    def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Send a request, and return status (0 without an answer), JSON and headers."""
        data = None if body is None else json.dumps(body)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if data:
            given["Content-Type"] = "application/json"
        if self.token:
            given["Authorization"] = f"Bearer {self.token}"
        try:
            if self._conn is None:
                self._conn = HTTPConnection("127.0.0.1", self.port, timeout=40)
                self._conn.connect()
                self._conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._conn.request(method, path, data, given)
            response = self._conn.getresponse()
            text = response.read()
            for cookie in response.headers.get_all("Set-Cookie", []):
                name, _, value = cookie.partition("=")
                self.cookies[name] = value.partition(";")[0]
            if response.will_close:
                self.close()
            return response.status, json.loads(text or b"null"), dict(response.getheaders())
        except json.JSONDecodeError:  # an error page of the balancer
            return response.status, {"error": {"code": "not_json"}}, {}
        except (OSError, HTTPException) as error:
            self.close()
            return 0, {"error": {"code": type(error).__name__}}, {}

    def close(self) -> None:
        """Close the connection."""
        if self._conn:
            self._conn.close()
            self._conn = None


class Load:
    """Clients, each a user of its own, that read and write as fast as they get answers."""

    client_class = Client

    def __init__(
        self, port: int, clients: int = 16, idempotent: bool = False, pause: float = 0.002
    ) -> None:
        self.record = Record()
        self._stop = threading.Event()
        self._idempotent, self._pause = idempotent, pause
        self.clients: list[Client] = []
        for _ in range(clients):
            credentials = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
            client = self.client_class(port)
            status, session, _ = client("POST", "/api/v1/auth/register", credentials)
            assert status == 201, session
            client.token = session["accessToken"]
            self.clients.append(client)
        self._threads = [
            threading.Thread(target=self._work, args=[client]) for client in self.clients
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request hangs"
        self.close()

    def close(self) -> None:
        """Close the clients' connections."""
        for client in self.clients:
            client.close()

    def _work(self, client: Client) -> None:
        rng = random.Random(client.token)
        mine: list[str] = []
        while not self._stop.is_set():
            choice = rng.random()
            if choice < 0.4 or not mine:
                self._create(client, mine)
            elif choice < 0.6:
                self._update(client, rng.choice(mine))
            elif choice < 0.8:
                self.send(client, "GET", "/api/v1/tasks?limit=5")
            else:
                self.send(client, "GET", f"/api/v1/tasks/{rng.choice(mine)}")
            time.sleep(self._pause)

    def send(
        self, client: Client, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """Send a request, record its answer, and return status and JSON."""
        started = time.monotonic()
        status, answer, sent = client(method, path, body, **headers)
        now = time.monotonic()
        code = answer["error"]["code"] if status == 0 or status >= 400 else ""
        self.record.answers.append(
            Answer(now, now - started, method, status, code, "retry-after" in map(str.lower, sent))
        )
        return status, answer

    def _create(self, client: Client, mine: list[str]) -> None:
        title = str(uuid.uuid4())
        headers = {"Idempotency_Key": title} if self._idempotent else {}
        status, task = self.send(client, "POST", "/api/v1/tasks", {"title": title}, **headers)
        while self._idempotent and status in (0, 503) and not self._stop.is_set():
            time.sleep(0.2)
            status, task = self.send(client, "POST", "/api/v1/tasks", {"title": title}, **headers)
        if status == 201:
            self.record.created[title] = task["id"]
            mine.append(task["id"])

    def _update(self, client: Client, task_id: str) -> None:
        text = str(uuid.uuid4())
        body = {"description": text}
        status, _ = self.send(client, "PATCH", f"/api/v1/tasks/{task_id}", body)
        if status == 200:
            self.record.updated[task_id] = text
            self.record.unsure.discard(task_id)
        else:
            self.record.unsure.add(task_id)  # the update may have been committed nevertheless


@dataclass
class Findings:
    """The number of acknowledged writes, and of those that were lost or doubled."""

    acknowledged: int
    lost: int
    doubled: int


def look_for(record: Record, url: str) -> Findings:
    """Compare the acknowledged writes with the rows of the database."""
    rows = run_sql(url, "SELECT id::text, title, description FROM tasks")
    by_title = Counter(title for _, title, _ in rows)
    held = {task_id: (title, description) for task_id, title, description in rows}
    lost = sum(held.get(task_id, ("", ""))[0] != title for title, task_id in record.created.items())
    lost += sum(
        held.get(task_id, ("", ""))[1] != text
        for task_id, text in record.updated.items()
        if task_id not in record.unsure
    )
    doubled = sum(count - 1 for count in by_title.values())
    return Findings(len(record.created) + len(record.updated), lost, doubled)


def wait_for(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until a condition holds, and return the seconds it took; fail after a limit."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started
