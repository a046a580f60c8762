"""Password reset tokens, signed with a key that depends on the current hash of the password.

A token works only once without a table of used ones: a new password has a new hash, so the keys of
earlier tokens no longer apply. A login that renews the hash voids earlier tokens too.
"""

import time
from collections.abc import Sequence
from hashlib import sha256

from itsdangerous import BadSignature, TimestampSigner

from taskflow.errors import ServiceError
from taskflow.http.fields import is_uuid

RESET_SECONDS = 60 * 60


def make_reset_token(user_id: str, password_hash: str, secrets: Sequence[str]) -> str:
    """Return a token that resets the password of a user within an hour."""
    return _signer(password_hash, secrets).sign(user_id).decode()


def user_of_reset_token(token: str) -> str:
    """Return the user's id that a token names, before its signature is verified.

    Raises `ServiceError` `auth_invalid`.
    """
    user_id = token.partition(".")[0]
    if not is_uuid(user_id):
        raise ServiceError("auth_invalid")
    return user_id


def verify_reset_token(token: str, password_hash: str, secrets: Sequence[str]) -> None:
    """Verify a token; raises `ServiceError` `auth_invalid` or `auth_expired`."""
    try:
        _, made_at = _signer(password_hash, secrets).unsign(token, return_timestamp=True)
    except BadSignature:
        raise ServiceError("auth_invalid") from None
    # Not `max_age`, which refuses a token that a machine with a faster clock has just made.
    if time.time() - made_at.timestamp() > RESET_SECONDS:
        raise ServiceError("auth_expired")


def _signer(password_hash: str, secrets: Sequence[str]) -> TimestampSigner:
    # itsdangerous signs with the last key.
    return TimestampSigner(
        list(reversed(secrets)), salt=f"password reset {password_hash}", digest_method=sha256
    )
