"""A WSGI application that returns the request that it received, for comparisons of servers."""

from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the method, the target and the body; `/bare` has no headers, `/broken` fails."""
    if environ["PATH_INFO"] == "/health/live":  # which tells the tests that it runs
        start_response("200 OK", [("Content-Length", "4")])
        return [b"null"]
    if environ["PATH_INFO"] == "/bare":
        start_response("200 OK", [])
        return [b"bare"]
    if environ["PATH_INFO"] == "/broken":
        return _fail_in_the_middle(start_response)
    try:
        body = environ["wsgi.input"].read()
    except Exception:  # a server's own errors: a broken chunk, a client that hung up
        start_response("400 Bad Request", [("Content-Length", "0")])
        return []
    answer = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} ".encode("latin-1") + body
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


def _fail_in_the_middle(start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"half"
    raise RuntimeError("broken")
