"""An invalid query is refused by the parameter's name, and a value at a limit is accepted."""

from urllib.parse import quote

import pytest

from tests.support.assertions import assert_error
from tests.support.routes import BODIES, BODILESS, LONG_NUMBER, ROCKET, assert_code, brief, send
from tests.support.users import User

Subtests = pytest.Subtests


# fmt: off
NO_BOUNDS = [
    "=", "=x", "=1969-12-31", "=3000-01-01", "=2030-02-30", "=2030-01-01T00:00:00", "=%FF",
    "=2030-01-01T00:00:00+02:00", "=2030-01-01%00",
]
REFUSED_QUERIES = {
    "limit": [
        "", "=", "=0", "=101", "=-1", "=%2B1", "=1.0", "=1e1", "=%201", "=1_0", "=%EF%BC%91",
        "=1%00", "=1%FF", "=" + LONG_NUMBER, "=1&limit=1", "=1&lim%69t=1", "=1;sort=title",
    ],
    "sort": [
        "=", "=Title", "=--title", "=%2Btitle", "=title,priority", "=id", "=title%00", "=%FF",
        "=title&sort=title", "=title)%3BDROP%20TABLE%20tasks",
    ],
    "cursor": [
        "=", "=x", "=%00", "=%FF", "=%F0%9F%9A%80", "====", "=" + "x" * 50_000, "=AAAA&cursor=AAAA",
    ],
    "status": ["=", "=Pending", "=pending,completed", "=pending&status=x", "=pending%00", "=%FF"],
    "priority": ["=", "=HIGH", "=urgent", "=low&priority=", "=low&priority=%ED%A0%80"],
    "tag": ["=", "=%20", "=" + "x" * 51, "=a&tag=%00", "=a&tag=%FF", "=%C0%80"],
    "q": ["=", "=%20", "=!", "=%00", "=a%00", "=%FF", "=%ED%A0%80", "=" + "a" * 201, "=a&q=b"],
    "dueBefore": [*NO_BOUNDS, "=2030-01-01&dueBefore=2030-01-01"],
    "dueAfter": [*NO_BOUNDS, "=2030-01-01&dueAfter=2030-01-01"],
    **{name: ["", "=1", "=%FF"] for name in ("x", "page", "Limit", "limit[]", "title", "id")},
}
ACCEPTED_QUERIES = [
    "limit=1", "limit=100", "tag=" + quote(ROCKET * 50), "q=" + "a" * 200, "", "&", "sort=-dueDate",
    "tag=a&tag=b&tag=a", "status=pending&status=completed", "priority=low&priority=high",
    "dueAfter=1970-01-01&dueBefore=2999-12-31", "dueAfter=2999-12-31T23:59:59.999999Z",
    "dueBefore=2030-01-01T00:00:00%2B02:00",
]
# fmt: on


@pytest.mark.parametrize("name", REFUSED_QUERIES)
def test_an_invalid_query_parameter_is_refused_by_name(
    alice: User, subtests: Subtests, name: str
) -> None:
    for query in REFUSED_QUERIES[name]:
        with subtests.test(brief(query)):
            assert_error(alice.get(f"/tasks?{name}{query}"), 400, "validation_error", name)


def test_a_query_at_the_limits_is_answered(alice: User, subtests: Subtests) -> None:
    for query in ACCEPTED_QUERIES:
        with subtests.test(brief(query)):
            assert alice.get(f"/tasks?{query}").status_code == 200


def test_a_query_that_is_not_utf8_is_refused(alice: User) -> None:
    for name in ("", "%FF", "%ED%A0%80", "limit%FF", "limit%00"):
        assert_code(alice.get(f"/tasks?{name}=1"), 400, "validation_error")
    response = alice.get("/tasks", environ_overrides={"QUERY_STRING": "q=a\xff"})  # not encoded
    assert_error(response, 400, "validation_error", "q")


@pytest.mark.parametrize("route", [*BODIES, *BODILESS[1:]])
def test_a_route_without_a_query_refuses_parameters(alice: User, route: str) -> None:
    body = {"json": BODIES[route]} if route in BODIES else {}
    for query in ("x=1", "x", "x=%FF", "x=%00", "x=1&x=2", "limit=1", "title=x"):
        response = send(alice, route, f"?{query}", **body)
        assert_error(response, 400, "validation_error", query.partition("=")[0])


def test_a_damaged_cursor_is_refused(alice: User, subtests: Subtests) -> None:
    for title in ("a", "bb", "ccc", "dddd"):  # cursors of three lengths: base64 has spare bits
        alice.task(title=title)
    query, cursor = "limit=1&sort=title", ""
    for _ in range(3):
        cursor = alice.get(f"/tasks?{query}{cursor and '&cursor='}{cursor}").json["nextCursor"]
        damaged = [cursor[:-1] + char for char in "AQgwBRhxCSiy" if char != cursor[-1]]
        damaged += [cursor[1:], cursor[:-1], cursor + "=", cursor + "==", cursor + "%20"]
        for i, char in enumerate(cursor):
            damaged.append(cursor[:i] + ("_" if char == "-" else "-") + cursor[i + 1 :])
        for other in damaged:
            with subtests.test(cursor, sent=other):
                response = alice.get(f"/tasks?{query}&cursor={other}")
                assert_error(response, 400, "validation_error", "cursor")


@pytest.mark.parametrize("sort", ["title", "-title"])
def test_the_cursor_of_the_longest_title_is_accepted(alice: User, sort: str) -> None:
    for _ in range(2):
        alice.task(title=ROCKET * 200)
    cursor = alice.get(f"/tasks?limit=1&sort={sort}").json["nextCursor"]
    assert alice.titles(f"?limit=1&sort={sort}&cursor={cursor}") == [ROCKET * 200]
