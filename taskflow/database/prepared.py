"""Prepared statements: PostgreSQL parses and plans each statement once per connection.

psycopg2 can't prepare statements through the protocol. The first use of a statement therefore sends
PREPARE along, and every use runs the statement with EXECUTE.
"""

import re
from collections import OrderedDict
from functools import lru_cache
from itertools import count
from typing import NamedTuple

MAX_PREPARED = 100  # statements that a connection keeps; each takes PostgreSQL some 50 KB

# SQLSTATEs: the statement does not exist, its name is taken, or its result type has changed by a
# migration. PostgreSQL raises these errors before it runs anything.
STALE = ("26000", "42P05", "0A000")

_PARAMETER = re.compile(r"%(?:\((\w+)\)s|(%))")
_numbers = count(1)


class Prepared(NamedTuple):
    """A statement's text for PREPARE, and how to run it with named parameters."""

    name: str
    prepare: str
    execute: str


@lru_cache(maxsize=1000)
def prepared(sql: str) -> Prepared:
    """Turn psycopg2's named parameters into PostgreSQL's numbered ones."""
    names: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        """Return the numbered form of a parameter, or a plain percent sign."""
        if match[2]:
            return "%"
        return f"${names.setdefault(match[1], len(names) + 1)}"

    body = _PARAMETER.sub(number, sql)
    name = f"taskflow_{next(_numbers)}"
    arguments = ", ".join(f"%({name})s" for name in names)
    # psycopg2 looks for parameters in the text of PREPARE too, when both are sent as one string.
    text = body.replace("%", "%%")
    return Prepared(
        name,
        f"PREPARE {name} AS {text}; ",
        f"EXECUTE {name} ({arguments})" if names else f"EXECUTE {name}",
    )


class PreparedStatements:
    """The names of a connection's prepared statements, the least recently used first."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()

    def command(self, sql: str) -> str:
        """Return the command to send for a statement, and remember that this prepares it."""
        statement = prepared(sql)
        if statement.name in self._names:
            self._names.move_to_end(statement.name)
            return statement.execute
        self._names[statement.name] = None
        evict = ""
        if len(self._names) > MAX_PREPARED:
            evict = f"DEALLOCATE {self._names.popitem(last=False)[0]}; "
        return f"{evict}{statement.prepare}{statement.execute}"

    def clear(self) -> str:
        """Forget all statements and return the command that makes PostgreSQL do so too."""
        self._names.clear()
        return "DEALLOCATE ALL"
