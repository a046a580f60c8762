"""The request headers of tasks: ETags (RFC 9110 section 8.8.3) and Idempotency-Key."""

import hashlib
import json
import re
from typing import NamedTuple

from flask import Request

from taskflow.api import load_json_object
from taskflow.errors import ServiceError

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
# A proxy that compresses weakens our strong tag (W/"1"): it still names the version.
_OUR_TAG = re.compile(r'"([1-9][0-9]{0,8})"')
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class IdempotencyKey(NamedTuple):
    """A client's name for a request, and a digest of the JSON value that it sent."""

    key: str
    body_digest: str


def etag(version: int) -> str:
    """Give the strong ETag of a task's version."""
    return f'"{version}"'


def if_match(request: Request) -> list[int] | None:
    """Give the versions that If-Match names; None where any will do: no header, or `*`.

    A tag that is not ours names no version. Raises `ServiceError` `validation_error`.
    """
    return _versions_in(request, "If-Match")


def if_none_match(request: Request, version: int) -> bool:
    """Whether the client has this version already; raises `ServiceError` `validation_error`."""
    if _header(request, "If-None-Match") is None:
        return False
    known = _versions_in(request, "If-None-Match")
    return known is None or version in known


def _header(request: Request, name: str) -> str | None:
    """Give a header as WSGI names it: Werkzeug raises and catches an error where there is none."""
    value: str | None = request.environ.get(f"HTTP_{name.upper().replace('-', '_')}")
    return value


def _versions_in(request: Request, name: str) -> list[int] | None:
    value = _header(request, name)
    if value is None or value.strip() == "*":
        return None
    if not _TAGS.fullmatch(value):
        raise ServiceError("validation_error", [(name, "Must be * or a list of ETags.")])
    return [int(version) for version in _OUR_TAG.findall(value)]


def idempotency_key(request: Request) -> IdempotencyKey | None:
    """Give the Idempotency-Key, or None where there is none.

    Raises `ServiceError` `validation_error`.
    """
    value = _header(request, "Idempotency-Key")
    if value is None:
        return None
    if not _KEY.fullmatch(value):
        message = "Must have 1 to 255 visible ASCII characters."
        raise ServiceError("validation_error", [("Idempotency-Key", message)])
    try:
        canonical = json.dumps(load_json_object(request), sort_keys=True)
    except RecursionError:  # in a read-only field, which nobody looked into
        raise ServiceError("invalid_json") from None
    return IdempotencyKey(value, hashlib.sha256(canonical.encode()).hexdigest())
