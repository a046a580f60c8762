"""Passwords: argon2id hashes, made one at a time so that other requests keep their CPU."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn.frequency_lists import FREQUENCY_LISTS

# OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_one_at_a_time = threading.Lock()
_COMMON = frozenset(p for p in FREQUENCY_LISTS["passwords"] if len(p) >= 8)

# Verified for unknown users, so that they take as long as a wrong password.
_NOBODYS_HASH = _hasher.hash("nobody has this password")


def is_common(password: str) -> bool:
    """Return whether a password is on zxcvbn's list of common ones, in any case."""
    return password.lower() in _COMMON


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password, with its salt and parameters."""
    with _one_at_a_time:
        return _hasher.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Return whether a password matches a hash; None never does, and takes as long."""
    with _one_at_a_time:
        try:
            return _hasher.verify(password_hash or _NOBODYS_HASH, password) and bool(password_hash)
        except (VerificationError, InvalidHashError):
            return False


def needs_rehash(password_hash: str) -> bool:
    """Return whether a hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)
