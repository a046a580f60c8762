"""No honest client is logged out and no copied token lives on, in every trace up to a bound.

The tests walk every trace of a model of the refresh rule. They compare the service's statements
with the model for every short sequence of presented tokens, and for thousands of longer ones.
"""

import random
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from psycopg2.extensions import cursor

from taskflow.auth.sessions import GRACE_SECONDS, ROTATE
from taskflow.auth.tokens import REFRESH_SECONDS
from taskflow.config import Config
from taskflow.database.prepared import prepared
from taskflow.ids import new_id
from tests.support.session_model import (
    GRACE,
    Rule,
    Tokens,
    World,
    find_trace,
    present,
    present_by_version_1_0,
    present_without_late_answers,
    steps_of_owner,
    steps_with_thief,
)

WAITS = (0, 9, 20, 31)
RANDOM_TRACES, LONGEST = 2000, 7
# Prepared, because planning them would take most of the time.
STATEMENTS = [prepared(text) for text in ROTATE.split(";")]
EXECUTE_ROTATE = ";".join(statement.execute for statement in STATEMENTS)
MOVE_TIME = """
UPDATE refresh_tokens
SET issued_at = issued_at - %(wait)s * interval '1 second',
    rotated_at = rotated_at - %(wait)s * interval '1 second';
UPDATE sessions
SET last_used_at = last_used_at - %(wait)s * interval '1 second';
"""


def is_logged_out(world: World | None) -> bool:
    return world is None


def lives_on(world: World | None) -> bool:
    """Return whether owner and thief have refreshed in turns, over 30 s apart, three times."""
    return world is not None and world.turns > 2


def logged_out_trace(rule: Rule, depth: int) -> list[str] | None:
    trace, worlds = find_trace(World(), steps_of_owner, rule, depth, is_logged_out)
    assert trace or worlds > 1000
    return trace and [f"{step.action} {step.value}" for step in trace]


def test_the_rule_logs_no_honest_client_out() -> None:
    assert logged_out_trace(present, 8) is None


def test_the_rule_of_version_1_0_logs_out_a_client_whose_answer_was_lost() -> None:
    expected = ["refresh 0", "wait 31", "refresh 0"]
    assert logged_out_trace(present_by_version_1_0, 8) == expected


def test_a_late_answer_logs_out_a_client_if_handed_out_tokens_die_at_once() -> None:
    assert logged_out_trace(present_without_late_answers, 8) == [
        *["refresh 0", "wait 20", "refresh 0", "wait 20", "refresh 0"],
        *["answer arrives 0", "refresh 1"],
    ]


def test_no_copy_of_a_token_lives_on_unnoticed() -> None:
    trace, worlds = find_trace(World(copy=0), steps_with_thief, present, 8, lives_on)
    assert (trace, worlds > 10_000) == (None, True)


def test_a_copy_lives_on_for_ever_under_the_rule_of_version_1_0() -> None:
    now, tokens = 0, Tokens()
    answer = present_by_version_1_0(tokens, 0, now)
    assert answer is not None
    tokens, owners = answer
    answer = present_by_version_1_0(tokens, 0, now)
    assert answer is not None
    tokens, thiefs = answer
    for _ in range(1000):
        now += GRACE + 1
        answer = present_by_version_1_0(tokens, owners, now)
        assert answer is not None
        tokens, owners = answer
        now += GRACE + 1
        answer = present_by_version_1_0(tokens, thiefs, now)
        assert answer is not None
        tokens, thiefs = answer


class Replay:
    """The service's statements on one session, in a transaction that is never committed."""

    def __init__(self, cursor: cursor) -> None:
        self.cursor = cursor
        self._caller = {"user_id": new_id(), "session_id": new_id()}
        self.ids = [new_id()]  # of the tokens, by their number
        cursor.execute(
            """
            INSERT INTO users (id, email, email_key, password_hash)
            VALUES (%(user_id)s, 'a@example.com', 'a@example.com', '');
            INSERT INTO sessions (id, user_id, expires_at)
            VALUES (%(session_id)s, %(user_id)s, now() + interval '7 days');
            INSERT INTO refresh_tokens (id, session_id) VALUES (%(token_id)s, %(session_id)s);
            """,
            {**self._caller, "token_id": self.ids[0]},
        )

    def present(self, wait: int, number: int, before: str = "") -> int | None:
        """Let time pass, present a token, and return the number of the answer's token."""
        made = new_id()
        self.cursor.execute(
            before + (MOVE_TIME if wait else "") + EXECUTE_ROTATE,
            {
                **self._caller,
                "wait": wait,
                "token_id": self.ids[number],
                "new_id": made,
                "grace": GRACE_SECONDS,
                "lifetime": REFRESH_SECONDS,
                "max_days": 90,
            },
        )
        rows = self.cursor.fetchall()
        if not rows:
            return None
        answered = rows[0][1]
        if answered == made:
            self.ids.append(made)
        return self.ids.index(answered)


@pytest.fixture
def replay(config: Config) -> Iterator[Callable[[], Replay]]:
    """Return a function that begins a replay, and roll everything back after the test."""
    conn = psycopg2.connect(config.database_url)
    conn.cursor().execute("".join(statement.prepare for statement in STATEMENTS), {})
    conn.commit()

    def begin() -> Replay:
        conn.rollback()
        return Replay(conn.cursor())

    yield begin
    conn.close()


def test_the_statements_match_the_model_for_every_short_sequence(
    replay: Callable[[], Replay],
) -> None:
    real = replay()
    count = 0

    def walk(tokens: Tokens, now: int, depth: int) -> None:
        nonlocal count
        for wait in WAITS:
            for number in range(tokens.next_number):
                known = len(real.ids)
                answered = real.present(wait, number, f"SAVEPOINT s{depth};")
                expected = present(tokens, number, now + wait)
                assert answered == (expected and expected[1]), (tokens, wait, number)
                count += 1
                if expected and depth > 1:
                    walk(expected[0], now + wait, depth - 1)
                del real.ids[known:]
                real.cursor.execute(f"ROLLBACK TO s{depth}; RELEASE s{depth}")

    walk(Tokens(), 0, 3)
    assert count > 300


def test_the_statements_match_the_model_for_thousands_of_longer_sequences(
    replay: Callable[[], Replay],
) -> None:
    draw = random.Random(13)
    for _ in range(RANDOM_TRACES):
        real, tokens, now, trace = replay(), Tokens(), 0, []
        for _ in range(LONGEST):
            # Mostly one of the last tokens, so that traces are long.
            number = max(0, tokens.next_number - 1 - min(draw.randrange(4), draw.randrange(4)))
            wait = draw.choice(WAITS)
            now += wait
            trace.append((wait, number))
            expected = present(tokens, number, now)
            assert real.present(wait, number) == (expected and expected[1]), trace
            if expected is None:
                break
            tokens = expected[0]
