"""Passwords: hashed with argon2id, one at a time, so that others have their share of the CPU."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn.frequency_lists import FREQUENCY_LISTS

# OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_one_at_a_time = threading.Lock()
_COMMON = frozenset(p for p in FREQUENCY_LISTS["passwords"] if len(p) >= 8)

# Verified where there is no such user, so that it takes as long as a wrong password.
_NOBODYS_HASH = _hasher.hash("nobody has this password")


def is_common(password: str) -> bool:
    """Whether it is on zxcvbn's list of common passwords, in any case."""
    return password.lower() in _COMMON


def hash_password(password: str) -> str:
    """Give the argon2id hash of a password, with its salt and parameters."""
    with _one_at_a_time:
        return _hasher.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the hashed one; takes as long where there is no hash."""
    with _one_at_a_time:
        try:
            return _hasher.verify(password_hash or _NOBODYS_HASH, password) and bool(password_hash)
        except (VerificationError, InvalidHashError):
            return False


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)
