"""Signed cursors, which mark the end of a page. A damaged or foreign cursor is refused."""

import base64
import binascii
import hmac
import json
from collections.abc import Sequence
from typing import NamedTuple

from taskflow.errors import ServiceError

_SIGNATURE = 12  # bytes

# json.dumps() would make a new encoder for every cursor.
_encode = json.JSONEncoder(ensure_ascii=False).encode


class Position(NamedTuple):
    """The last task of a page: its sort key as text, and its id."""

    key: str
    task_id: str


def encode_cursor(position: Position, listing: str, secret: str) -> str:
    """Return the cursor of a position; `listing` names its sort and filters."""
    payload = _encode(position).encode()
    return _to_text(_sign(secret, payload, listing) + payload)


def decode_cursor(cursor: str, listing: str, secrets: Sequence[str]) -> Position:
    """Return the position of a cursor that was signed with one of the secrets.

    Raises `ServiceError` `validation_error`.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    signature, payload = raw[:_SIGNATURE], raw[_SIGNATURE:]
    is_signed = any(
        hmac.compare_digest(signature, _sign(secret, payload, listing)) for secret in secrets
    )
    if not is_signed or _to_text(raw) != cursor:  # base64 has several texts for the same bytes
        message = "Must be the nextCursor of a page with the same sort and filters."
        raise ServiceError("validation_error", [("cursor", message)])
    return Position(*json.loads(payload))


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _sign(secret: str, payload: bytes, listing: str) -> bytes:
    message = b"cursor\0" + listing.encode() + b"\0" + payload
    return hmac.digest(secret.encode(), message, "sha256")[:_SIGNATURE]
