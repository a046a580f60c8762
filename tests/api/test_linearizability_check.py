"""The check accepts a history if some order of its operations explains it, and no other one."""

from dataclasses import dataclass, field

import pytest

from tests.support.linearizability import UNKNOWN, Operation, find_violation

FOREVER = float("inf")
LIMIT = 2


@dataclass
class History:
    """A history that a test spells out; the operations take a second each, one after another."""

    operations: list[Operation] = field(default_factory=list)
    now: float = 0

    def note(self, kind: str, status: int, value: object = None, version: int | None = None,
             if_match: int | None = None, task_id: str | None = "t", takes: float = 1,
             ) -> "History":  # fmt: skip
        """Add an operation; `takes` above 1 makes it overlap with those that follow."""
        end = FOREVER if status == UNKNOWN else self.now + takes - 0.5
        self.operations.append(
            Operation(self.now, end, kind, status, value, version, if_match, task_id)
        )
        self.now += 1
        return self


def created() -> History:
    return History().note("create", 201, "a", 1)


ACCEPTED = {
    "one after another": created()
    .note("update", 200, "b", 2, 1)
    .note("get", 200, "b", 2)
    .note("update", 412, "c", None, 1)
    .note("delete", 204, None, None, 2)
    .note("get", 404)
    .note("delete", 404),
    "a read during an update sees the task before it": created()
    .note("update", 200, "b", 2, takes=5)
    .note("get", 200, "a", 1)
    .note("get", 200, "b", 2),
    "an update of unknown outcome took effect": created()
    .note("update", UNKNOWN, "b")
    .note("get", 200, "b", 7)
    .note("update", 200, "c", 8, 7),
    "an update of unknown outcome took no effect": created()
    .note("update", UNKNOWN, "b")
    .note("get", 200, "a", 1),
    "an update of unknown outcome took effect late": created()
    .note("update", UNKNOWN, "b")
    .note("get", 200, "a", 1)
    .note("get", 200, "b", 2),
    "a deletion of unknown outcome took effect": created()
    .note("delete", UNKNOWN)
    .note("get", 404),
    "the limit": created()
    .note("create", 201, "b", 2, task_id="u")
    .note("create", 403, "c", task_id=None)
    .note("delete", 204)
    .note("create", 201, "d", 4, task_id="v")
    .note("count", 200, 2, task_id=None),
    "a create of unknown outcome fills the limit": created()
    .note("create", UNKNOWN, "b", task_id=None)
    .note("create", 403, "c", task_id=None),
}  # fmt: skip
REFUSED = {
    "lost update": created().note("update", 200, "b", 2, 1).note("update", 200, "c", 3, 1),
    "lost update without a version": created()
    .note("update", 200, "b", 2)
    .note("get", 200, "a", 1),
    "stale read": created().note("update", 200, "b", 2).note("get", 200, "a", 1),
    "read of what nobody wrote": created().note("get", 200, "b", 1),
    "read of an update that comes later": created()
    .note("get", 200, "b", 2)
    .note("update", 200, "b", 2),
    "read of a deleted task": created().note("delete", 204).note("get", 200, "a", 1),
    "two deletions": created().note("delete", 204).note("delete", 204),
    "unfounded refusal": created().note("update", 412, "b", None, 1),
    "version that does not grow": created().note("update", 200, "b", 1),
    "an unknown outcome that took effect and then did not": created()
    .note("update", UNKNOWN, "b")
    .note("get", 200, "b", 2)
    .note("get", 200, "a", 1),
    "a task that is gone without a deletion": created().note("get", 404),
    "limit off by one, above": created()
    .note("create", 201, "b", 2, task_id="u")
    .note("create", 201, "c", 3, task_id="v"),
    "limit off by one, below": created().note("create", 403, "b", task_id=None),
    "doubled create": created().note("count", 200, 2, task_id=None),
    "create that did nothing": created()
    .note("create", 201, "b", 2, task_id="u")
    .note("count", 200, 1, task_id=None),
}  # fmt: skip


@pytest.mark.parametrize("history", ACCEPTED.values(), ids=ACCEPTED)
def test_a_history_that_some_order_explains_is_accepted(history: History) -> None:
    assert find_violation(history.operations, LIMIT) is None


@pytest.mark.parametrize("history", REFUSED.values(), ids=REFUSED)
def test_a_history_that_no_order_explains_is_refused(history: History) -> None:
    assert find_violation(history.operations, LIMIT) is not None
