"""Tokens: what a JWT and a cookie hold, how they are made, found in a request and verified.

An access token proves a user for 15 minutes without a look at the database. A refresh token
names a row of `refresh_tokens`, by which the service tells a fresh one from one that was used.
"""

import secrets
import time
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import jwt
from flask import Flask, Request, Response, current_app
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    set_access_cookies,
    set_refresh_cookies,
    unset_jwt_cookies,
)

from taskflow.config import Config
from taskflow.errors import ServiceError, error_response

ACCESS_SECONDS = 15 * 60
REFRESH_SECONDS = 7 * 24 * 60 * 60
ACCESS_COOKIE, REFRESH_COOKIE, CSRF_COOKIE = "access_token", "refresh_token", "csrf_token"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_REMEMBERED = 4096  # verified tokens a process remembers: some 6 MB at the most


class Claims(NamedTuple):
    """What a verified token says."""

    user_id: str
    session_id: str
    kind: str
    token_id: str
    csrf: str
    expires: float


class TokenPair(NamedTuple):
    """The tokens of a session, and the value that X-CSRF-Token must repeat."""

    access: str
    refresh: str
    csrf: str


class Verifier:
    """Verifies signatures and claims for one set of keys, and remembers what was true.

    A token that was verified stays so, but for its expiry, which is looked at each time.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._keys = [config.jwt_secret]
        if config.jwt_secret_previous:
            self._keys.append(config.jwt_secret_previous)
        self._verified = lru_cache(maxsize=_REMEMBERED)(self._verify)

    def verify(self, token: str, kind: str | None = None) -> Claims:
        """Give what a token says; `kind` is `access` or `refresh`, or None for either.

        Raises `ServiceError` `auth_invalid` or `auth_expired`.
        """
        claims = self._verified(token)
        if kind and claims.kind != kind:
            raise ServiceError("auth_invalid")
        if claims.expires <= time.time():
            raise ServiceError("auth_expired")
        return claims

    def _verify(self, token: str) -> Claims:
        try:
            claims = self._decode(token)
            kind = claims.get("type", "access")
            return Claims(
                # What goes into SQL as a UUID is one.
                user_id=str(UUID(claims["sub"])),
                session_id=str(UUID(claims["sid"])),
                kind=kind,
                token_id=str(UUID(claims["jti"])) if kind == "refresh" else str(claims["jti"]),
                csrf=str(claims.get("csrf", "")),
                expires=float(claims["exp"]),
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise ServiceError("auth_invalid") from None

    def _decode(self, token: str) -> dict[str, Any]:
        for key in self._keys:
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=["HS256"],
                    audience=self._config.jwt_audience,
                    issuer=self._config.jwt_issuer,
                    options={
                        "require": ["sub", "sid", "iss", "aud", "iat", "exp", "jti"],
                        "verify_exp": False,  # looked at each time, by verify()
                        "verify_iat": False,  # two hosts' clocks may differ (jpadilla/pyjwt#814)
                    },
                )
            except jwt.InvalidSignatureError:
                continue
        raise jwt.InvalidSignatureError


def verifier() -> Verifier:
    """Give the verifier of the current application."""
    found: Verifier = current_app.extensions["verifier"]
    return found


def bearer_of(request: Request) -> str | None:
    """Give the token of an Authorization header, whose scheme is in any case (RFC 9110 11.1).

    None where there is none: a router may have put credentials of another scheme there.
    """
    header: str = request.environ.get("HTTP_AUTHORIZATION", "")
    scheme, _, token = header.strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def authenticate(request: Request) -> Claims:
    """Find out who is asking: give the claims of an access token.

    A header wins over the cookie by being there at all. Raises `ServiceError` `auth_missing`,
    `auth_invalid`, `auth_expired` or `csrf_failed`.
    """
    token = bearer_of(request)
    if token is not None:
        return verifier().verify(token, "access")
    if cookie := request.cookies.get(ACCESS_COOKIE):
        claims = verifier().verify(cookie, "access")
        check_csrf(request, claims)
        return claims
    raise ServiceError("auth_missing")


def check_csrf(request: Request, claims: Claims) -> None:
    """Compare X-CSRF-Token with the token that came by cookie; raises `csrf_failed`."""
    if request.method in _SAFE_METHODS:
        return
    sent = request.headers.get("X-CSRF-Token", "")
    if not claims.csrf or not secrets.compare_digest(sent.encode(), claims.csrf.encode()):
        raise ServiceError("csrf_failed")


def new_csrf_token() -> str:
    """Make the value that a session keeps from login to logout."""
    return secrets.token_urlsafe(32)


def issue(user_id: str, session_id: str, refresh_id: str, csrf: str) -> TokenPair:
    """Make the tokens of a session; `refresh_id` is the row that the refresh token names."""
    claims = {"sid": session_id, "csrf": csrf}
    return TokenPair(
        create_access_token(user_id, additional_claims=claims),
        create_refresh_token(user_id, additional_claims={**claims, "jti": refresh_id}),
        csrf,
    )


def set_cookies(response: Response, pair: TokenPair) -> None:
    """Set the three cookies of a session; they last as long as what they hold."""
    set_access_cookies(response, pair.access, max_age=ACCESS_SECONDS)
    set_refresh_cookies(response, pair.refresh, max_age=REFRESH_SECONDS)
    response.set_cookie(CSRF_COOKIE, pair.csrf, max_age=REFRESH_SECONDS, **_csrf_cookie())


def clear_cookies(response: Response) -> None:
    """Delete the three cookies of a session."""
    unset_jwt_cookies(response)
    response.set_cookie(CSRF_COOKIE, "", max_age=0, **_csrf_cookie())


def _csrf_cookie() -> dict[str, Any]:
    return {
        "secure": current_app.config["JWT_COOKIE_SECURE"],
        "samesite": current_app.config["JWT_COOKIE_SAMESITE"],
    }


def init_app(app: Flask, config: Config) -> None:
    """Set flask-jwt-extended up, which makes the tokens and their cookies."""
    app.config.update(
        JWT_SECRET_KEY=config.jwt_secret,
        JWT_ALGORITHM="HS256",
        JWT_ENCODE_ISSUER=config.jwt_issuer,
        JWT_DECODE_ISSUER=config.jwt_issuer,
        JWT_ENCODE_AUDIENCE=config.jwt_audience,
        JWT_DECODE_AUDIENCE=config.jwt_audience,
        JWT_ENCODE_NBF=False,
        JWT_ACCESS_TOKEN_EXPIRES=ACCESS_SECONDS,
        JWT_REFRESH_TOKEN_EXPIRES=REFRESH_SECONDS,
        JWT_TOKEN_LOCATION=["headers", "cookies"],
        JWT_ACCESS_COOKIE_NAME=ACCESS_COOKIE,
        JWT_REFRESH_COOKIE_NAME=REFRESH_COOKIE,
        JWT_REFRESH_COOKIE_PATH="/api/v1/auth",
        # A browser takes SameSite=None with Secure only.
        JWT_COOKIE_SECURE=config.production or config.cookie_samesite == "None",
        JWT_COOKIE_SAMESITE=config.cookie_samesite,
        JWT_COOKIE_CSRF_PROTECT=False,  # ours is one value for the whole session: check_csrf()
    )
    app.extensions["verifier"] = Verifier(config)
    manager = JWTManager(app)

    def answer(code: str) -> Any:
        return lambda *_args: error_response(ServiceError(code))

    # Nothing here asks the library to verify; a route that does gets the same answers.
    manager.unauthorized_loader(answer("auth_missing"))
    manager.expired_token_loader(answer("auth_expired"))
    manager.revoked_token_loader(answer("auth_revoked"))
    for loader in (
        manager.invalid_token_loader,
        manager.needs_fresh_token_loader,
        manager.token_verification_failed_loader,
        manager.user_lookup_error_loader,
    ):
        loader(answer("auth_invalid"))
