"""Cursors: where a page ended, signed, so that a damaged or foreign one is noticed."""

import base64
import binascii
import hmac
import json
from typing import NamedTuple

from flask import current_app

from taskflow.errors import ServiceError

_SIGNATURE = 12  # bytes


class Position(NamedTuple):
    """The last task of a page: the text of its sort key, and its id."""

    key: str
    task_id: str


def encode_cursor(position: Position, listing: str) -> str:
    """Give the cursor of a position; `listing` names the sort and the filters it belongs to."""
    payload = json.dumps(position, ensure_ascii=False).encode()
    return _to_text(_sign(_keys()[0], payload, listing) + payload)


def decode_cursor(cursor: str, listing: str) -> Position:
    """Give the position of a cursor; raises `ServiceError` `validation_error`."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    signature, payload = raw[:_SIGNATURE], raw[_SIGNATURE:]
    signed = any(hmac.compare_digest(signature, _sign(k, payload, listing)) for k in _keys())
    if not signed or _to_text(raw) != cursor:  # base64 has several texts for the same bytes
        message = "Must be the nextCursor of a page with the same sort and filters."
        raise ServiceError("validation_error", [("cursor", message)])
    return Position(*json.loads(payload))


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _sign(key: str, payload: bytes, listing: str) -> bytes:
    message = b"cursor\0" + listing.encode() + b"\0" + payload
    return hmac.digest(key.encode(), message, "sha256")[:_SIGNATURE]


def _keys() -> list[str]:
    config = current_app.extensions["config"]
    return [key for key in (config.jwt_secret, config.jwt_secret_previous) if key]
