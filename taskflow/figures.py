"""Counters and gauges that the processes of a server keep in shared memory.

The memory is anonymous: it has no file, so a full disk or a clean-up can't affect it. Each worker
process writes to its own region, and a scrape adds up all regions. When a worker has exited, a
later worker takes over its region and continues its counts. A process without a region in the
shared memory counts in private memory.
"""

import json
import logging
import mmap
import os
import threading
from collections.abc import Iterator
from operator import add
from typing import NamedTuple

logger = logging.getLogger(__name__)

REGIONS = 128  # workers at a time, including those that stop; an unused region takes no memory
CELLS = 8192  # numbers in a region
NAMES = 128 * 1024  # bytes in a region for the names of its series
_REGION = CELLS * 8 + NAMES
_NAMES_USED, _FIRST = 0, 1  # cells


class Series(NamedTuple):
    """One counter, or several that belong together."""

    family: str
    labels: tuple[str, ...] = ()
    is_gauge: bool = False  # its number is reset when its process exits


class Region:
    """A part of the memory: numbers, and the names of the series that they belong to."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        start = number * _REGION
        view = memoryview(memory)[start : start + _REGION]
        self.cells = view[: CELLS * 8].cast("d")
        self._names = view[CELLS * 8 :]

    def series(self) -> Iterator[tuple[Series, int, int]]:
        """Yield each series with its first cell and its number of cells."""
        first = _FIRST
        for line in bytes(self._names[: int(self.cells[_NAMES_USED])]).splitlines():
            family, labels, is_gauge, size = json.loads(line)
            yield Series(family, tuple(labels), is_gauge), first, size
            first += size

    def append(self, series: Series, size: int) -> int | None:
        """Add a series and return its first cell, or None if there is no room.

        Another process that reads at the same time sees the whole series or nothing of it.
        """
        line = json.dumps([*series, size]).encode() + b"\n"
        names = int(self.cells[_NAMES_USED])
        used = _FIRST + sum(size for _, _, size in self.series())
        if names + len(line) > NAMES or used + size > CELLS:
            return None
        self._names[names : names + len(line)] = line
        self.cells[_NAMES_USED] = names + len(line)
        return used


class Figures:
    """The numbers of this process, which its threads change, and the sums over all processes."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, REGIONS * _REGION)
        self._assigned: dict[int, int] = {}  # the region of each worker, by its age
        self._is_full = False
        self._use(Region(self._memory, 0))
        os.register_at_fork(after_in_child=self._be_alone)

    def _use(self, region: Region) -> None:
        self._lock = threading.Lock()
        self._region = region
        self._first = {series: first for series, first, _ in region.series()}

    def _be_alone(self) -> None:
        """Count in private memory, because the region belongs to the parent."""
        self._parents, self._memory = self._memory, mmap.mmap(-1, _REGION)
        self._use(Region(self._memory, 0))

    def assign(self, age: int) -> None:
        """Choose a worker's region. The parent calls this before it forks."""
        free = set(range(1, REGIONS)) - set(self._assigned.values())
        if free:
            self._assigned[age] = min(free)

    def join(self, age: int) -> None:
        """Switch to the region that `assign` chose. The worker calls this after the fork."""
        if age not in self._assigned:
            logger.warning("This worker's metrics are not shared: there are too many workers")
            return
        self._memory = self._parents
        self._use(Region(self._memory, self._assigned[age]))

    def leave(self, age: int) -> None:
        """Reset the gauges of a worker that has exited, and free its region, in the parent."""
        number = self._assigned.pop(age, None)
        if number is None:
            return
        region = Region(self._memory, number)
        for series, first, _ in region.series():
            if series.is_gauge:
                region.cells[first] = 0

    def add(self, series: Series, size: int, *amounts: tuple[int, float]) -> None:
        """Add amounts to cells of a series; each pair is a cell's position and its amount."""
        with self._lock:
            first = self._find(series, size)
            if first is not None:
                for position, amount in amounts:
                    self._region.cells[first + position] += amount

    def set(self, series: Series, value: float) -> None:
        """Set a series of one cell."""
        with self._lock:
            first = self._find(series, 1)
            if first is not None:
                self._region.cells[first] = value

    def _find(self, series: Series, size: int) -> int | None:
        first = self._first.get(series)
        if first is None:
            first = self._region.append(series, size)
            if first is not None:
                self._first[series] = first
            elif not self._is_full:
                self._is_full = True
                logger.warning("There is no room for more metrics: %s is not counted", series)
        return first

    def totals(self) -> dict[Series, list[float]]:
        """Return the cells of every series, summed over the processes."""
        sums: dict[Series, list[float]] = {}
        for number in range(len(self._memory) // _REGION):
            region = Region(self._memory, number)
            for series, first, size in region.series():
                known = sums.setdefault(series, [0.0] * size)
                cells = region.cells[first : first + size]
                known[:] = map(add, known, cells)
        return sums


figures = Figures()
