"""Password reset tokens: signed by a key that takes in the current hash of the password.

A token needs no table to be used once: the hash changes when the password does, and with it the
key of every token made before.
"""

from collections.abc import Sequence
from hashlib import sha256

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner

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
        _signer(password_hash, secrets).unsign(token, max_age=RESET_SECONDS)
    except SignatureExpired:
        raise ServiceError("auth_expired") from None
    except (BadSignature, UnicodeEncodeError):
        raise ServiceError("auth_invalid") from None


def _signer(password_hash: str, secrets: Sequence[str]) -> TimestampSigner:
    # itsdangerous signs with the last key.
    return TimestampSigner(
        list(reversed(secrets)), salt=f"password reset {password_hash}", digest_method=sha256
    )
