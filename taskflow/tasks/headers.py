"""The request headers of tasks: ETags (RFC 9110, 8.8.3) and Idempotency-Key."""

import hashlib
import json
import re
from typing import NamedTuple

from flask import Request

from taskflow.errors import ServiceError
from taskflow.http.parsing import load_json_object

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
# A proxy that compresses weakens our strong tag to W/"1", or makes it "1-gzip" (Apache); both still
# name the version.
_SUFFIX = r"(?:-[a-z]{1,10})?"
_OUR_TAG = re.compile(rf'"([1-9][0-9]{{0,8}}){_SUFFIX}"')
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class IdempotencyKey(NamedTuple):
    """A client's name for a request, and a digest of the JSON value that it sent."""

    key: str
    body_digest: str


def etag(version: int) -> str:
    """Return the strong ETag of a task's version."""
    return f'"{version}"'


def if_match(request: Request) -> list[int] | None:
    """Return the versions that If-Match names, or None without the header or with `*`.

    A tag that the service never sent names no version. Raises `ServiceError` `validation_error`.
    """
    value = request.headers.get("If-Match")
    if value is None or value.strip() == "*":
        return None
    _check_tags("If-Match", value)
    return [int(version) for version in _OUR_TAG.findall(value)]


def is_known(request: Request, etag: str) -> bool:
    """Return whether If-None-Match names an ETag, or is `*` (RFC 9110, 13.1.2).

    Raises `ServiceError` `validation_error`.
    """
    value = request.headers.get("If-None-Match")
    if value is None or value.strip() == "*":
        return value is not None
    _check_tags("If-None-Match", value)
    opaque = re.escape(etag.removeprefix("W/").strip('"'))
    return re.search(rf'"{opaque}{_SUFFIX}"', value) is not None


def _check_tags(name: str, value: str) -> None:
    if not _TAGS.fullmatch(value):
        raise ServiceError("validation_error", [(name, "Must be * or a list of ETags.")])


def collection_etag(request: Request, user_id: str, *state: int) -> str:
    """Return the weak ETag of an answer about all of a user's tasks.

    `state` begins with the user's change number. The tag differs by user and by query: a browser's
    cache must not show one user the tasks of another who used the browser before.
    """
    return f'W/"{"-".join(map(str, state))}-{_query_digest(request, user_id)}"'


def known_change_number(request: Request, user_id: str) -> int | None:
    """Return the change number of the ETag that the client has for this query, or None."""
    value = request.headers.get("If-None-Match")
    if value is None:
        return None
    tag = rf'"(0|[1-9][0-9]{{0,8}})-{_query_digest(request, user_id)}{_SUFFIX}"'
    match = re.search(tag, value)
    return int(match[1]) if match else None


def _query_digest(request: Request, user_id: str) -> str:
    query = f"{user_id} {request.path}?{request.query_string.decode('latin-1')}"
    return hashlib.sha256(query.encode()).hexdigest()[:12]


def idempotency_key(request: Request, route: str = "") -> IdempotencyKey | None:
    """Return the Idempotency-Key with a digest of the body, or None without the header.

    `route` becomes part of the digest, so that a key can't be used again on another route. Raises
    `ServiceError` `validation_error`.
    """
    value = request.headers.get("Idempotency-Key")
    if value is None:
        return None
    if not _KEY.fullmatch(value):
        message = "Must have 1 to 255 visible ASCII characters."
        raise ServiceError("validation_error", [("Idempotency-Key", message)])
    try:
        canonical = route + json.dumps(load_json_object(request), sort_keys=True)
    except RecursionError:  # deep nesting in a read-only field, which validation skips
        raise ServiceError("invalid_json") from None
    return IdempotencyKey(value, hashlib.sha256(canonical.encode()).hexdigest())
