"""CORS: the origins whose pages may read answers (Fetch standard)."""

import re
from functools import partial

from flask import Flask, Response, request
from flask_cors import CORS

from taskflow.http.answers import no_content

# Headers that a page on another origin may read.
EXPOSED_HEADERS = (
    "ETag", "Link", "Location", "Retry-After", "X-Correlation-ID", "Idempotency-Replayed",
    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
)  # fmt: skip
MAX_AGE = 600  # seconds that a browser may reuse a preflight's answer


def init_app(app: Flask, origins: tuple[str, ...]) -> None:
    """Let pages on these origins read every answer, with credentials."""
    app.before_request(partial(_answer_preflight, frozenset(origins)))
    CORS(
        app,
        # flask-cors would treat a text with a bracket as a pattern.
        origins=[re.compile(rf"{re.escape(origin)}\Z") for origin in origins],
        supports_credentials=True,
        expose_headers=EXPOSED_HEADERS,
        max_age=MAX_AGE,
    )


def _answer_preflight(origins: frozenset[str]) -> Response | None:
    """Answer a preflight from a listed origin, whatever its path.

    A browser shows a preflight that fails as a CORS error. After one that succeeds, the page sees
    the answer to the request itself, such as a 404.
    """
    is_preflight = (
        request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and request.headers.get("Origin") in origins
    )
    return no_content() if is_preflight else None
