"""Credentials: the tokens that a request presents, in its header and its cookies."""

import secrets

from flask import Request

from taskflow.auth.tokens import Claims
from taskflow.errors import ServiceError
from taskflow.http.context import components

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def bearer_of(request: Request) -> str | None:
    """Return the token of the Authorization header, whose scheme may be in any case.

    Returns None for another scheme, which a router may have put there (RFC 9110, 11.1).
    """
    scheme, _, token = (request.headers.get("Authorization") or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _refresh_cookie(request: Request) -> Claims | None:
    return _cookie_claims(request, components().config.cookie_names.refresh, "refresh")


def _access_cookie(request: Request) -> Claims | None:
    return _cookie_claims(request, components().config.cookie_names.access, "access")


def authenticate(request: Request) -> Claims:
    """Return the claims of the access token in the header or, without one, in the cookie.

    Raises `ServiceError` `auth_missing`, `auth_invalid`, `auth_expired` or `csrf_failed`.
    """
    bearer = bearer_of(request)
    if bearer is not None:
        return components().tokens.verify(bearer, "access")
    claims = _access_cookie(request)
    if claims is None:
        raise ServiceError("auth_missing")
    return claims


def authenticate_refresh(request: Request) -> Claims:
    """Return the claims of the refresh token in the cookie or, without one, in the header.

    The cookie wins because a frontend often still sends an expired access token in the header.
    Raises as `authenticate` does.
    """
    claims = _refresh_cookie(request)
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
    for find_claims in (_refresh_cookie, _bearer_claims, _access_cookie):
        try:
            claims = find_claims(request)
        except ServiceError as error:
            failure = error
            continue
        if claims is not None:
            return claims
    raise failure


def find_replaced_session(request: Request) -> str | None:
    """Return the session of a valid refresh cookie, which a login or a registration ends."""
    cookie = request.cookies.get(components().config.cookie_names.refresh)
    if not cookie:
        return None
    try:
        return components().tokens.verify(cookie, "refresh").session_id
    except ServiceError:
        return None


def check_csrf(request: Request, claims: Claims) -> None:
    """Compare X-CSRF-Token with the claim of the cookie's token; raises `csrf_failed`."""
    if request.method in _SAFE_METHODS:
        return
    sent = request.headers.get("X-CSRF-Token") or ""
    if not claims.csrf or not secrets.compare_digest(sent.encode(), claims.csrf.encode()):
        raise ServiceError("csrf_failed")


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
