"""A check that a concurrent history is linearizable: that some order of operations explains it.

The search is Wing and Gong's (Testing and Verifying Concurrent Objects, 1993), with Lowe's memory
of what has been tried. Each operation takes effect at some moment between its call and its return.
One whose outcome is unknown takes effect at any moment after its call, or never.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, NamedTuple

UNKNOWN = 0  # the status of an operation without a usable answer


class Operation(NamedTuple):
    """An operation of a client: when it was called and answered, what it asked, what it got."""

    called: float
    returned: float
    kind: str  # create, get, update, delete, count
    status: int
    value: Any = None  # the text that it writes or reads, or the number that it reads
    version: int | None = None  # that the answer names
    if_match: int | None = None
    task_id: str | None = None

    @property
    def is_known(self) -> bool:
        return self.status != UNKNOWN


State = Hashable
Model = Callable[[Any, Operation], Iterable[State]]  # the states that may follow, none if refused


def is_linearizable(history: list[Operation], model: Model, initial: State) -> bool:
    """Return whether some order of the operations explains all answers."""
    operations = sorted(history, key=lambda operation: operation.called)
    tried: set[tuple[int, State]] = set()
    stack: list[tuple[int, State]] = [(0, initial)]  # operations that took effect, as bits
    known = sum(1 << i for i, operation in enumerate(operations) if operation.is_known)
    while stack:
        done, state = stack.pop()
        if done & known == known:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        left = [(i, o) for i, o in enumerate(operations) if not done >> i & 1]
        first_return = min(o.returned for _, o in left if o.is_known)
        # A call after another's return can't come before it.
        next_ones = [(i, o) for i, o in left if o.called <= first_return]
        for i, operation in sorted(next_ones, key=lambda found: -found[1].returned):
            stack += [(done | 1 << i, following) for following in model(state, operation)]
    return False


class Task(NamedTuple):
    """A task: its text, and its version or, after an unknown outcome, a lower bound of it."""

    value: Any
    version: int
    is_exact: bool = True

    def may_be(self, version: int | None) -> bool:
        """Return whether this can be the task's version."""
        if version is None:
            return True
        return version == self.version if self.is_exact else version > self.version


def task_model(state: Task | None, operation: Operation) -> Iterable[Task | None]:
    """Yield the states of one task after an operation; None is a task that does not exist."""
    if state is None:
        yield from _without_task(operation)
        return
    kind, status, if_match = operation.kind, operation.status, operation.if_match
    if kind == "create" or status == 404:
        return
    if status == 412:
        if if_match is not None and not (state.is_exact and state.version == if_match):
            yield state
    elif kind == "get":
        if state.value == operation.value and state.may_be(operation.version):
            yield Task(state.value, operation.version or state.version)
    elif state.may_be(if_match):
        least = if_match or state.version
        if kind == "delete":
            yield None
        elif status == UNKNOWN:
            yield Task(operation.value, least, is_exact=False)
        elif operation.version is not None and operation.version > least:
            yield Task(operation.value, operation.version)


def _without_task(operation: Operation) -> Iterable[Task | None]:
    if operation.kind == "create" and operation.status == 201:
        yield Task(operation.value, operation.version or 0)
    elif operation.status == 404:
        yield None


def count_model(limit: int) -> Model:
    """Return the model of the number of a user's tasks, which has a limit."""

    def model(count: int, operation: Operation) -> Iterable[int]:
        kind, status = operation.kind, operation.status
        if kind == "create" and status in (201, UNKNOWN) and count < limit:
            yield count + 1
        elif kind == "delete" and status in (204, UNKNOWN) and count > 0:
            yield count - 1
        elif (kind == "create" and status == 403 and count == limit) or (
            kind == "count" and operation.value == count
        ):
            yield count

    return model


def find_violation(history: list[Operation], limit: int) -> str | None:
    """Return which part of a user's history no order explains, or None."""
    counted = [o for o in history if o.kind in ("create", "delete", "count")]
    counted = [o for o in counted if o.status in (201, 204, 403, 200, UNKNOWN)]
    if not is_linearizable(counted, count_model(limit), 0):
        return "the number of tasks"
    created = {o.task_id for o in history if o.kind == "create" and o.status == 201}
    for task_id in sorted(filter(None, created)):
        part = [o for o in history if o.task_id == task_id and o.kind != "count"]
        if not is_linearizable(part, task_model, None):
            return f"task {task_id}"
    return None
