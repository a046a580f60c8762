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
    return f"{unicodedata.normalize('NFC', local.casefold())}@{ascii_domain}"


def canonical_password(password: str) -> str:
    """Return the form in which passwords are compared (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFC", password)
