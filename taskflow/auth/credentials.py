"""Credentials: the tokens that a request presents, in its header and its cookies."""

import secrets

from flask import Request

from taskflow.auth.tokens import ACCESS_COOKIE, REFRESH_COOKIE, Claims
from taskflow.errors import ServiceError
from taskflow.http.context import components
from taskflow.http.parsing import header_of

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def bearer_of(request: Request) -> str | None:
    """Return the token of the Authorization header, whose scheme may be in any case.

    Returns None for another scheme, which a router may have put there (RFC 9110, 11.1).
    """
    scheme, _, token = (header_of(request, "Authorization") or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def authenticate(request: Request) -> Claims:
    """Return the claims of the access token in the header or, without one, in the cookie.

    Raises `ServiceError` `auth_missing`, `auth_invalid`, `auth_expired` or `csrf_failed`.
    """
    bearer = bearer_of(request)
    if bearer is not None:
        return components().tokens.verify(bearer, "access")
    claims = _cookie_claims(request, ACCESS_COOKIE, "access")
    if claims is None:
        raise ServiceError("auth_missing")
    return claims


def authenticate_refresh(request: Request) -> Claims:
    """Return the claims of the refresh token in the cookie or, without one, in the header.

    The cookie wins because a frontend often still sends an expired access token in the header.
    Raises as `authenticate` does.
    """
    claims = _cookie_claims(request, REFRESH_COOKIE, "refresh")
    if claims is not None:
        return claims
    bearer = bearer_of(request)
    if bearer is None:
        raise ServiceError("auth_missing")
    return components().tokens.verify(bearer, "refresh")


def authenticate_any(request: Request) -> Claims:
    """Return the claims of the first valid token: refresh cookie, header or access cookie.

    An invalid cookie does not hide the next token, because a page can't remove the cookie.
    Raises as `authenticate` does.
    """
    failure = ServiceError("auth_missing")
    for find_claims in (_refresh_claims, _bearer_claims, _access_claims):
        try:
            claims = find_claims(request)
        except ServiceError as error:
            failure = error
            continue
        if claims is not None:
            return claims
    raise failure


def check_csrf(request: Request, claims: Claims) -> None:
    """Compare X-CSRF-Token with the token from the cookie; raises `csrf_failed`."""
    if request.method in _SAFE_METHODS:
        return
    sent = header_of(request, "X-CSRF-Token") or ""
    if not claims.csrf or not secrets.compare_digest(sent.encode(), claims.csrf.encode()):
        raise ServiceError("csrf_failed")


def _refresh_claims(request: Request) -> Claims | None:
    return _cookie_claims(request, REFRESH_COOKIE, "refresh")


def _access_claims(request: Request) -> Claims | None:
    return _cookie_claims(request, ACCESS_COOKIE, "access")


def _bearer_claims(request: Request) -> Claims | None:
    bearer = bearer_of(request)
    return components().tokens.verify(bearer) if bearer else None


def _cookie_claims(request: Request, name: str, kind: str) -> Claims | None:
    cookie = request.cookies.get(name)
    if not cookie:
        return None
    claims = components().tokens.verify(cookie, kind)
    check_csrf(request, claims)
    return claims
