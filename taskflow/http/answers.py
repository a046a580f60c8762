"""Answers: JSON text with headers, and answers without a body."""

from json import JSONEncoder

from flask import Response

# Writes JSON without spaces, as PostgreSQL does. json.dumps() would make an encoder for each call.
compact_json = JSONEncoder(separators=(",", ":")).encode


def json_response(text: str, status: int = 200, **headers: str) -> Response:
    """Return an answer of JSON text; a header's name is written with `_` for `-`."""
    response = Response(text, status, content_type="application/json")
    for name, value in headers.items():
        response.headers.add(name.replace("_", "-"), value)
    return response


def not_modified(etag: str) -> Response:
    """Return a 304 for a client that has the answer with this ETag."""
    return Response(status=304, headers={"ETag": etag})


def no_content() -> Response:
    """Return a 204, which has neither a body nor a content type."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response
