"""Clients that keep a copy of a user's tasks by following the feed of changes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Send = Callable[..., tuple[int, Any]]  # method, path below /api/v1 and body: status and JSON


@dataclass
class Mirror:
    """A copy of the tasks by id, and the token of the next page."""

    send: Send
    tasks: dict[str, Any] = field(default_factory=dict)
    token: str | None = None
    pages: int = 0

    def apply_page(self, limit: int = 100) -> bool:
        """Apply the next page, and return whether there is more.

        Requests the page again while the database is away.
        """
        since = f"&since={self.token}" if self.token else ""
        status, page = 503, None
        while status == 503:
            status, page = self.send("GET", f"/tasks/changes?limit={limit}{since}")
        assert status == 200, page
        assert len(page["changed"]) + len(page["deleted"]) <= limit
        for task in page["changed"]:
            self.tasks[task["id"]] = task
        for task_id in page["deleted"]:
            self.tasks.pop(task_id, None)
        self.token = page["nextSince"]
        self.pages += 1
        return bool(page["hasMore"])

    def catch_up(self, limit: int = 100) -> None:
        """Apply pages until there is no more."""
        while self.apply_page(limit):
            pass
