"""Settings of the worker, which gunicorn's configuration file passes in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Lane:
    """A separate pool of threads for some requests; gunicorn's `threads` serve all others."""

    pattern: str  # a regular expression that matches the beginning of "METHOD /path"
    threads: int


# A function that answers a request that the application can't: it returns the status line, the
# headers and the body. Its arguments are the status (400 malformed, 408 too slow, 413 too large,
# 500 the application failed), the name of the error (which quotes nothing of the request), the
# peer's address, and the request's headers, as far as they are known.
Refuse = Callable[[int, str, str, Headers], tuple[str, Headers, bytes]]


@dataclass(frozen=True)
class Settings:
    """The facts about the application that the worker needs."""

    max_body: int  # bytes
    refuse: Refuse
    lanes: tuple[Lane, ...] = ()
