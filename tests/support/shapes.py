"""Requests that two HTTP parsers may read differently, each with a hidden request inside.

The next request on the connection has the correlation id `after`. The hidden request has the id
`hidden`, and must never be answered.
"""

import json

from tests.support.credentials import PASSWORD
from tests.support.wire import request

CREDENTIALS = {"email": "victim@example.com", "password": PASSWORD}
TASKS, LOGIN, LIVE = "/api/v1/tasks", "/api/v1/auth/login", "/health/live"
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"

BODY = json.dumps(CREDENTIALS).encode()
LENGTH = f"Content-Length: {len(BODY)}"
FIRST = "X-Correlation-ID: first"
HIDDEN = request("GET", LIVE, b"", "X-Correlation-ID: hidden")
AFTER = request("GET", LIVE, b"", "X-Correlation-ID: after")
OF_HIDDEN = f"Content-Length: {len(HIDDEN)}"
END = b"0\r\n\r\n"


def login(*fields: str) -> bytes:
    return request("POST", LOGIN, b"", FIRST, JSON, *fields)


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def chunked(data: bytes, path: str = LOGIN) -> bytes:
    return request("POST", path, b"", FIRST, JSON, CHUNKED) + data


# fmt: off
REFUSED = {
    "two framings": login(CHUNKED, LENGTH) + END + HIDDEN,
    "two framings, the other way": login(LENGTH, CHUNKED) + END + HIDDEN,
    "two lengths": login(LENGTH, "Content-Length: 0") + HIDDEN,
    "two equal lengths": login(LENGTH, LENGTH) + BODY,
    "a list of lengths": login(f"{LENGTH}, {len(BODY)}") + BODY,
    **{f"a length of {n!a}": login(f"Content-Length: {n}") + HIDDEN
       for n in ("-1", "+5", "0x5", "1e1", "5 5", "5;", "", "\xb2", "9" * 5000)},
    **{f"transfer coding {c!a}": login(f"Transfer-Encoding: {c}") + END + HIDDEN
       for c in ("xchunked", "chunked, identity", "chunked, chunked", "identity", "gzip", "",
                 "\x0bchunked", "chunked\x0b", '"chunked"', "chunked;q=1")},
    "chunks in HTTP/1.0": request("POST", LOGIN, b"", CHUNKED, version="1.0") + END + HIDDEN,
    "a folded header": login("Transfer-Encoding:", " chunked") + END + HIDDEN,
    "a header that folds": login("X-Folded: a\r\n b", LENGTH) + BODY,
    "a space before the colon": login("Transfer-Encoding : chunked") + END + HIDDEN,
    "a tab before the colon": login(f"Content-Length\t: {len(BODY)}") + BODY,
    "a header without a name": login(": x") + HIDDEN,
    "a header without a colon": login("chunked") + HIDDEN,
    "bare LF": login(LENGTH).replace(b"\r\n", b"\n") + BODY,
    "one bare LF": login(f"X: y\n{CHUNKED}") + END + HIDDEN,
    "a bare CR": login(f"X: y\r{CHUNKED}") + END + HIDDEN,
    "NUL in a value": login("X: a\0b", LENGTH) + BODY,
    "NUL in a name": login("X\0Y: a", LENGTH) + BODY,
    "two hosts": login("Host: y", LENGTH) + BODY,
    "a line that is too long": request("GET", "/" + "a" * 8200) + HIDDEN,
    "101 headers": request("GET", LIVE, b"", *["X: y"] * 100) + HIDDEN,
    "a header of 8191 bytes": request("GET", LIVE, b"", "X: " + "y" * (8191 - 5)) + HIDDEN,
    "HTTP/0.9": b"GET /health/live\r\n\r\n" + HIDDEN,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + HIDDEN,
    "a target without a slash": request("GET", "health/live") + HIDDEN,
    "a target in UTF-8": request("GET", "/h\xc3\xa9alth") + HIDDEN,
    "another expectation": login("Expect: 200-ok", LENGTH) + BODY,
}
# The service or its server refuses these bodies, and closes the connection.
BAD_CHUNKS = {
    **{f"a chunk of size {size!a}": size + b"\r\n" + BODY + b"\r\n" + END
       for size in (b"", b"x", b"-5", b"+5", b"0x5", b" 5", b"5 ", b"5_0", b"\xb2", b"5;\0",
                    b"5;a\nb", b'5;a="', b"0" * 9000)},
    "a chunk that is longer than it says": b"5\r\n" + BODY + b"\r\n" + END,
    "a chunk that is shorter than it says": b"ff\r\n" + BODY + b"\r\n" + END,
    "a chunk of 2**80": b"f" * 20 + b"\r\n" + BODY + b"\r\n" + END,
    "a bad chunk in the middle": chunk(BODY[:5]) + b"zz\r\n" + chunk(BODY[5:]) + END,
    "no chunk at the end": chunk(BODY),
    "half of the last chunk": chunk(BODY) + b"0\r\n",
    "bare LF between chunks": chunk(BODY).replace(b"\r\n", b"\n") + b"0\n\n",
    "a length among the trailers": chunk(BODY) + b"0\r\nContent-Length: 5\r\n\r\n",
    "a trailer that is no header": chunk(BODY) + b"0\r\nchunked\r\n\r\n",
}
ANSWERED = {  # with the status of the first request; the next one is answered too
    "a body that looks like a request": (400, login(OF_HIDDEN) + HIDDEN),
    "where none belongs": (415, request("GET", LIVE, b"", FIRST, OF_HIDDEN) + HIDDEN),
    "where there is no route": (404, request("POST", "/x", b"", FIRST, OF_HIDDEN) + HIDDEN),
    "chunks that look like a request": (400, chunked(chunk(HIDDEN) + END)),
    "chunks nobody reads": (401, chunked(chunk(HIDDEN) + END, TASKS)),
    "an extension": (200, chunked(chunk(BODY, b';a=b;c="d e"') + END)),
    "a trailer": (200, chunked(chunk(BODY) + b"0\r\nX-Trailer: y\r\n\r\n")),
    "many chunks": (200, chunked(b"".join(chunk(BODY[i : i + 1]) for i in range(len(BODY))) + END)),
    "zeros before the length": (200, login(f"Content-Length: 000{len(BODY)}") + BODY),
    "HTTP/1.0 kept alive": (200, request("GET", LIVE, b"", FIRST, "Connection: keep-alive",
                                         version="1.0")),
    "the longest header": (200, request("GET", LIVE, b"", FIRST, "X: " + "y" * (8190 - 5))),
    "100 Continue": (200, login("Expect: 100-continue", LENGTH) + BODY),
    "an upgrade": (200, request("GET", LIVE, b"", FIRST, "Upgrade: h2c", "HTTP2-Settings: AAMAAABk",
                                "Connection: Upgrade, HTTP2-Settings")),
    "an empty line before": (200, b"\r\n" + request("GET", LIVE, b"", FIRST)),
    "a whole URL": (200, request("GET", f"http://x{LIVE}", b"", FIRST)),
}
# fmt: on
