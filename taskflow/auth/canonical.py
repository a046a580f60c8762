"""Canonical forms: how emails and passwords are compared, whatever keyboard typed them."""

import unicodedata

import idna


def canonical_email(email: str) -> str:
    """Return the form in which emails are unique.

    The local part is case folded and in NFC. The domain is an A-label by UTS 46, non-transitional,
    and IDNA 2008. Raises `ValueError` for a domain that IDNA refuses.
    """
    local, _, domain = unicodedata.normalize("NFC", email.strip()).rpartition("@")
    ascii_domain = idna.encode(domain, uts46=True, transitional=False).decode()
    return f"{fold(local)}@{ascii_domain}"


def keys_of_email(email: str) -> list[str]:
    """Return the keys that an account with this email may have, the most specific first.

    Accounts of version 1.0 keep the key of that version where IDNA refuses the domain, or where
    another account has the canonical form.
    """
    keys = [unicodedata.normalize("NFC", email.strip()).lower()]
    try:
        keys.append(canonical_email(email))
    except ValueError:
        return keys
    return keys


def canonical_password(password: str) -> str:
    """Return the form in which passwords are compared (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFC", password)


def fold(text: str) -> str:
    """Return a text in NFC with its case folded, for comparisons without regard to case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
