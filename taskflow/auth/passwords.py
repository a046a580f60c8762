"""Passwords: argon2id hashes, computed one at a time so that other requests get CPU time too."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from taskflow.auth.canonical import canonical_password, fold, keys_of_email

# OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_one_at_a_time = threading.Lock()
_COMMON = frozenset(p for p in FREQUENCY_LISTS["passwords"] if len(p) >= 8)
_SERVICE_NAME = "taskflow"
_EXTRA_CHARACTERS = 4  # "taskflow2026" is as easy to guess as "taskflow"

# The hash to verify if the email is unknown, so that the answer takes as long as for a known email.
_NOBODYS_HASH = _hasher.hash("nobody has this password")


def is_common(password: str) -> bool:
    """Return whether a password is on zxcvbn's list of common ones, in any case."""
    return password.lower() in _COMMON


def is_guessable(password: str, email: str) -> bool:
    """Return whether a password is little more than the service's name or the user's email.

    A guessable password is one of these words, in any case, with at most four other characters
    around it in all (OWASP ASVS 5.0, 6.2.11).
    """
    text = canonical_password(password)
    words = {_SERVICE_NAME, fold(email.strip())}
    for key in keys_of_email(email):
        words |= {key, key.rpartition("@")[0]}
    return any(
        fold(text[before : len(text) - after]) in words
        for before in range(_EXTRA_CHARACTERS + 1)
        for after in range(_EXTRA_CHARACTERS + 1 - before)
    )


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password, with its salt and parameters."""
    with _one_at_a_time:
        return _hasher.hash(canonical_password(password))


def verify_password(password_hash: str | None, password: str) -> bool:
    """Return whether a password matches a hash; None never matches, and takes as long.

    Hashes of earlier versions may be of the password as it was typed, so that form is tried too.
    """
    forms = {canonical_password(password): None, password: None}
    with _one_at_a_time:
        matches = any(_matches(password_hash or _NOBODYS_HASH, form) for form in forms)
    return matches and password_hash is not None


def needs_rehash(password_hash: str, password: str) -> bool:
    """Return whether a hash has outdated parameters, or is of the password as it was typed."""
    if _hasher.check_needs_rehash(password_hash):
        return True
    canonical = canonical_password(password)
    with _one_at_a_time:
        return canonical != password and not _matches(password_hash, canonical)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
