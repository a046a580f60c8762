"""Valid requests, and random changes of their bytes and values."""

import json
import random
from typing import Any

from tests.support.wire import request

UNKNOWN = "01890000-0000-7000-8000-000000000000"
TASK = {"title": "Buy milk", "description": None, "status": "pending", "priority": "high",
        "tags": ["a", "b"], "dueDate": "2026-12-01"}  # fmt: skip
QUERY = "limit=5&sort=-dueDate&status=pending&status=completed&tag=a&dueAfter=2026-01-01&q=milk"

# fmt: off
BYTES = [
    b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b",", b";", b"%", b"%00", b"/",
    b"?", b"..", b"\x7f", b"\x80", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b'"', b"{", b"}", b"\\",
    b"HTTP/1.1", b"chunked", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"9" * 30,
    b"a" * 5000,
]
VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, 2**63, 2**64, 10**4000, [], {}, [[]], ["a"] * 11,
    ["a", " a "], {"a": {"b": []}}, "", " ", "\0", "\ud800", "a" * 3000, "\N{ROCKET}" * 201, "%s",
    "{}", "2026-12-01", "9999-12-31T23:59:59-23:59", UNKNOWN, "completed", "NaN",
    "'; DROP TABLE tasks; --",
]
# fmt: on


def templates(bearer: str, task_id: str) -> list[tuple[str, str, Any, list[str]]]:
    """Return method, path, body and header lines of valid requests."""
    key, tag = "Idempotency-Key: a-key", 'If-Match: "1", W/"2"'
    one = f"/api/v1/tasks/{task_id}"
    credentials = {"email": "nobody@example.com", "password": "correct horse battery"}
    return [
        ("GET", f"/api/v1/tasks?{QUERY}", None, [bearer]),
        ("GET", one, None, [bearer, 'If-None-Match: "1"']),
        ("HEAD", one, None, [bearer, "X-Correlation-ID: front-end_1"]),
        ("POST", "/api/v1/tasks", TASK, [bearer, key]),
        ("POST", "/api/v1/tasks", TASK, [bearer]),
        ("PUT", one, TASK, [bearer, tag]),
        ("PATCH", one, {"status": "completed"}, [bearer]),
        ("DELETE", f"/api/v1/tasks/{UNKNOWN}", None, [bearer, tag]),
        ("POST", "/api/v1/auth/login", credentials, ["X-Forwarded-For: 192.0.2.1"]),
        ("PUT", "/api/v1/auth/password", {"currentPassword": "x", "newPassword": "x"}, [bearer]),
        (
            "POST",
            "/api/v1/auth/refresh",
            {},
            ["Cookie: __Secure-refresh_token=a.b.c; __Host-csrf_token=d"],
        ),
        ("GET", "/api/v1/auth/sessions", None, [f"Cookie: __Host-access_token={bearer[22:]}"]),
        ("DELETE", f"/api/v1/auth/sessions/{UNKNOWN}", None, [bearer]),
        ("OPTIONS", "/api/v1/tasks", None, ["Origin: https://example.com"]),
        ("GET", "/health/live", None, ["Connection: keep-alive", "Expect: 100-continue"]),
    ]


def mutate(rng: random.Random, requests: list[tuple[str, str, Any, list[str]]]) -> bytes:
    """Return a request with random changes: of a value of its body, or of its bytes."""
    method, path, body, fields = rng.choice(requests)
    text = b""
    if body is not None:
        if rng.random() < 0.4:
            body = _mutate_value(rng, body)
        text = json.dumps(body).encode()
        if rng.random() < 0.3:
            text = _mutate_bytes(rng, text)
        elif rng.random() < 0.3:
            return _mutate_bytes(rng, _chunked(rng, method, path, text, fields))
    data = request(method, path, text, *fields)
    return data if rng.random() < 0.2 else _mutate_bytes(rng, data)


def _chunked(rng: random.Random, method: str, path: str, text: bytes, fields: list[str]) -> bytes:
    cut = rng.randrange(len(text))
    pieces = [piece for piece in (text[:cut], text[cut:]) if piece]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    chunked = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    return request(method, path, b"", *chunked, *fields) + body


def _mutate_value(rng: random.Random, value: Any) -> Any:
    """Change a JSON value: a member's value or name, or the whole."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return rng.choice(VALUES)
    if isinstance(value, list):
        return [rng.choice(VALUES) if rng.random() < 0.5 else item for item in value]
    name = rng.choice(list(value))
    kept = {k: v for k, v in value.items() if k != name}
    action = rng.randrange(4)
    if action == 0:
        return kept
    if action == 1:
        return {**kept, str(rng.choice(VALUES))[:500]: value[name]}
    return {**kept, name: _mutate_value(rng, value[name])}


def _mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, insert, remove or repeat bytes, one to four times."""
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        upto = at + rng.choice([1, 1, 2, 4, 20])
        action = rng.randrange(5)
        if action == 0:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif action == 1:
            data = data[:at] + rng.choice(BYTES) + data[at:]
        elif action == 2:
            data = data[:at] + data[upto:]
        elif action == 3:
            data = data[:upto] + data[at:]
        else:
            lines = data.split(b"\r\n")  # removes or repeats a header
            i = rng.randrange(len(lines))
            lines[i : i + 1] = rng.choice([[], [lines[i]] * 2])
            data = b"\r\n".join(lines)
    return data
