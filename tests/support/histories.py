"""Clients of one user that record a history of concurrent operations."""

import random
import threading
import time
import uuid
from typing import Any

from tests.support.credentials import PASSWORD
from tests.support.linearizability import UNKNOWN, Operation
from tests.support.load import Client

CLIENTS = 8
FOREVER = float("inf")
EXPECTED = {
    "create": {201, 403},
    "get": {200, 404},
    "update": {200, 404, 412},
    "delete": {204, 404, 412},
    "count": {200},
}
UNANSWERED = {0, 503}
RETRIES, PAUSE = 20, 0.1  # of a create, and seconds between them


class Recorder:
    """Clients that use the tasks of one user, each as fast as it is answered."""

    def __init__(self, port: int, seed: int, steps: int = 10) -> None:
        self._port, self._seed, self._steps = port, seed, steps
        self._token = self._register()
        self._task_ids: list[str] = []
        self.history: list[Operation] = []
        self._errors: list[Exception] = []

    def _register(self) -> str:
        client = Client(self._port)
        for _ in range(100):
            credentials = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
            status, session, _ = client("POST", "/api/v1/auth/register", credentials)
            if status == 201:
                client.close()
                return str(session["accessToken"])
            assert status in UNANSWERED, session
            time.sleep(0.1)
        raise AssertionError("nobody can register")

    def record(self) -> list[Operation]:
        """Let the clients work, and return the history."""
        threads = [threading.Thread(target=self._work, args=[n]) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self._errors == []
        return self.history

    def _work(self, number: int) -> None:
        rng = random.Random(self._seed * CLIENTS + number)
        client = Client(self._port, self._token)
        seen: dict[str, int] = {}
        try:
            for _ in range(self._steps):
                self._step(client, rng, seen)
                time.sleep(rng.uniform(0, 0.05))
        except Exception as error:
            self._errors.append(error)
        finally:
            client.close()

    def _step(self, client: Client, rng: random.Random, seen: dict[str, int]) -> None:
        ids = self._task_ids[-3:]  # few, so that the clients meet
        kinds = ["get", "get", "update", "update", "update", "delete", "count"] if ids else []
        kind = rng.choice([*kinds, "create", "create"])
        if kind == "create":
            self._create(client)
        elif kind == "count":
            status, body, called = self._send(client, kind, "GET", "/summary")
            self._note(kind, called, status, body.get("total"))
        else:
            task_id = rng.choice(ids)
            if_match = seen.get(task_id) if rng.random() < 0.6 and kind != "get" else None
            self._use(client, kind, task_id, if_match, seen)

    def _use(
        self,
        client: Client,
        kind: str,
        task_id: str,
        if_match: int | None,
        seen: dict[str, int],
    ) -> None:
        method = {"get": "GET", "update": "PATCH", "delete": "DELETE"}[kind]
        text = str(uuid.uuid4()) if kind == "update" else None
        headers = {"If_Match": f'"{if_match}"'} if if_match else {}
        body = {"title": text} if text else None
        status, answer, called = self._send(client, kind, method, f"/{task_id}", body, **headers)
        value, version = text or answer.get("title"), answer.get("version")
        if status == 200:
            seen[task_id] = version
        self._note(kind, called, status, value, version, if_match, task_id)

    def _create(self, client: Client) -> None:
        """Create a task, and try again with the same key while the outcome is unknown."""
        text, key = str(uuid.uuid4()), str(uuid.uuid4())
        started = None
        for _ in range(RETRIES):
            status, body, called = self._send(
                client, "create", "POST", "", {"title": text}, Idempotency_Key=key
            )
            started = started or called
            if status == 201:
                self._note("create", started, status, text, body["version"], None, body["id"])
                self._task_ids.append(body["id"])
                return
            if status == 403:
                self._note("create", called, status, text)
            if status != UNKNOWN:
                break
            time.sleep(PAUSE)
        if started != called:  # an earlier attempt may still take effect
            self._note("create", started or called, UNKNOWN, text)

    def _send(
        self, client: Client, kind: str, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, Any], float]:
        called = time.monotonic()
        status, answer, _ = client(method, f"/api/v1/tasks{path}", body, **headers)
        if status in UNANSWERED:
            return UNKNOWN, {}, called
        assert status in EXPECTED[kind], (kind, status, answer)
        return status, answer or {}, called

    def _note(self, kind: str, called: float, status: int, *rest: Any) -> None:
        if status == UNKNOWN and kind in ("get", "count"):
            return  # a read without an answer changes nothing, and says nothing
        returned = FOREVER if status == UNKNOWN else time.monotonic()
        self.history.append(Operation(called, returned, kind, status, *rest))
