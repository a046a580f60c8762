"""A model of refresh tokens, their owner and a thief, small enough to walk every trace.

Time is in seconds. A rule takes the server's tokens, the token that is presented and the time, and
returns the tokens afterwards and the token of the answer, or None where it ends the session.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

GRACE = 30
WAITS = (9, 20, 31)  # 29 seconds are within the grace, 31 are not
_OLD = 3 * GRACE  # two ages above this make no difference


class Token(NamedTuple):
    """A refresh token of the server: its number, and when it was made and last used."""

    number: int
    made: int
    used: int | None = None


class Tokens(NamedTuple):
    """The server's tokens of a session in the order in which they were made."""

    chain: tuple[Token, ...] = (Token(0, 0),)
    handed_out: int = 0  # when the newest was last sent
    next_number: int = 1


Rule = Callable[[Tokens, int, int], tuple[Tokens, int] | None]


def present(tokens: Tokens, number: int, now: int) -> tuple[Tokens, int] | None:
    """Apply the service's rule."""
    return _present(tokens, number, now, keeps_handed_out=True)


def present_without_late_answers(
    tokens: Tokens, number: int, now: int
) -> tuple[Tokens, int] | None:
    """Apply the service's rule, except that a token's reuse kills every later token at once."""
    return _present(tokens, number, now, keeps_handed_out=False)


def _present(
    tokens: Tokens, number: int, now: int, keeps_handed_out: bool
) -> tuple[Tokens, int] | None:
    place = next((i for i, token in enumerate(tokens.chain) if token.number == number), None)
    if place is None:
        return None
    token, newest = tokens.chain[place], tokens.chain[-1]
    if token is not newest:
        used = token.used or 0
        if now - used <= GRACE:
            return tokens._replace(handed_out=now), newest.number
        if token is not tokens.chain[-2] and newest.made - used > GRACE:
            return None
    kept = [t for t in tokens.chain[:place] if now - (t.used or 0) <= GRACE]
    kept.append(token._replace(used=now))
    if keeps_handed_out:
        for later in tokens.chain[place + 1 :]:
            last = tokens.handed_out if later.used is None else later.used
            if now - last <= GRACE:
                kept.append(later._replace(used=now))
    made = Token(tokens.next_number, now)
    return Tokens((*kept, made), now, made.number + 1), made.number


def present_by_version_1_0(tokens: Tokens, number: int, now: int) -> tuple[Tokens, int] | None:
    """Apply the rule of version 1.0: each use makes a token, for 30 seconds after the first."""
    token = next((t for t in tokens.chain if t.number == number), None)
    if token is None or (token.used is not None and now - token.used > GRACE):
        return None
    used = now if token.used is None else token.used
    chain = tuple(token._replace(used=used) if t is token else t for t in tokens.chain)
    made = Token(tokens.next_number, now)
    return Tokens((*chain, made), now, made.number + 1), made.number


class World(NamedTuple):
    """The state of the server, of the owner's browser and of a thief.

    The tabs of a browser share its cookie, and answers to them may be on their way. A turn is a
    refresh of the owner or the thief more than 30 seconds after the last refresh of the other one.
    """

    tokens: Tokens = Tokens()
    now: int = 0
    cookie: int = 0
    answers: tuple[tuple[int, int], ...] = ()  # token, and when it was sent
    copy: int | None = None
    last: tuple[str, int] | None = None  # who refreshed last since the copy, and when
    turns: int = 0


class Step(NamedTuple):
    """A step of a trace: an action with its seconds, its token or the place of an answer."""

    action: str
    value: int


Trace = tuple[Step, ...]
Successor = tuple[Step, World | None]  # None where the session has ended


def _refresh(world: World, rule: Rule, number: int, who: str) -> tuple[World, int] | None:
    answer = rule(world.tokens, number, world.now)
    if answer is None:
        return None
    tokens, answered = answer
    turns, last = world.turns, world.last
    if world.copy is not None:
        if last and last[0] != who:  # within the grace both get the same token
            turns = turns + 1 if world.now - last[1] > GRACE else 0
        last = (who, world.now)
    return world._replace(tokens=tokens, turns=turns, last=last), answered


def _waits(world: World) -> Iterator[Successor]:
    for seconds in WAITS:
        now = world.now + seconds
        answers = tuple(answer for answer in world.answers if now - answer[1] <= GRACE)
        yield Step("wait", seconds), world._replace(now=now, answers=answers)


def steps_of_owner(world: World, rule: Rule) -> Iterator[Successor]:
    """Yield what an owner with several tabs may do: answers may be lost, or up to 30 s late."""
    yield from _waits(world)
    refreshed = _refresh(world, rule, world.cookie, "owner")
    step = Step("refresh", world.cookie)
    if refreshed is None:
        yield step, None
    else:
        after, answered = refreshed
        yield step, after._replace(answers=(*world.answers, (answered, world.now)))
    for place, (number, _) in enumerate(world.answers):
        left = world.answers[:place] + world.answers[place + 1 :]
        yield Step("answer arrives", place), world._replace(cookie=number, answers=left)


def steps_with_thief(world: World, rule: Rule) -> Iterator[Successor]:
    """Yield what an owner and a thief may do; the owner's answers arrive at once or never."""
    yield from _waits(world)
    refreshed = _refresh(world, rule, world.cookie, "owner")
    step = Step("refresh", world.cookie)
    yield step, refreshed and refreshed[0]._replace(cookie=refreshed[1])
    if refreshed:
        lost = refreshed[0]._replace(last=world.last, turns=world.turns)
        yield Step("answer is lost", world.cookie), lost
    if world.copy is not None:
        refreshed = _refresh(world, rule, world.copy, "thief")
        yield Step("thief", world.copy), refreshed and refreshed[0]._replace(copy=refreshed[1])


Steps = Callable[[World, Rule], Iterator[Successor]]


def find_trace(
    start: World, steps: Steps, rule: Rule, depth: int, is_wrong: Callable[[World | None], bool]
) -> tuple[Trace | None, int]:
    """Return the shortest trace to a wrong world, or None, and the number of different worlds.

    Walks every trace of `depth` steps; worlds that differ only in names and in old ages are one.
    """
    queue: deque[tuple[World, Trace]] = deque([(start, ())])
    met = set()
    while queue:
        world, trace = queue.popleft()
        if len(trace) == depth:
            continue
        for step, after in steps(world, rule):
            if is_wrong(after):
                return (*trace, step), len(met)
            if after is not None and (key := _canonical(after)) not in met:
                met.add(key)
                queue.append((after, (*trace, step)))
    return None, len(met)


def _canonical(world: World) -> object:
    """Return a world's canonical form: ages instead of times, and tokens numbered in order."""
    names = {token.number: place for place, token in enumerate(world.tokens.chain)}

    def age(time: int | None) -> int | None:
        return None if time is None else min(world.now - time, _OLD)

    def name(number: int | None) -> int | None:
        return None if number is None else names.get(number, -1)

    return (
        tuple((age(token.made), age(token.used)) for token in world.tokens.chain),
        age(world.tokens.handed_out),
        name(world.cookie),
        tuple(sorted((name(number), age(sent)) for number, sent in world.answers)),
        name(world.copy),
        world.last and (world.last[0], age(world.last[1])),
        world.turns,
    )
