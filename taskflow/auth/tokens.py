"""Tokens: their claims, signing, verification and cookies.

An access token identifies a user for 15 minutes. A refresh token names a row of `refresh_tokens`.
flask-jwt-extended signs, verifies and sets the cookies.
"""

import hmac
import secrets
import time
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import jwt
from flask import Flask, Response, current_app
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    decode_token,
    set_access_cookies,
    set_refresh_cookies,
    unset_jwt_cookies,
)
from flask_jwt_extended.exceptions import JWTExtendedException

from taskflow.config import Config
from taskflow.errors import ServiceError
from taskflow.http.context import Caller, components

ACCESS_SECONDS = 15 * 60
REFRESH_SECONDS = 7 * 24 * 60 * 60
_CLOCK_SKEW = 60  # seconds that the clocks of two instances may differ
_REMEMBERED = 4096  # verified tokens that a process keeps: 6 MB at most


class Claims(NamedTuple):
    """The claims of a verified token."""

    user_id: str
    session_id: str
    kind: str
    token_id: str
    csrf: str
    expires: float  # epoch seconds

    @property
    def caller(self) -> Caller:
        """The user and the session of the token."""
        return Caller(self.user_id, self.session_id)


class TokenPair(NamedTuple):
    """The tokens of a session, and the value that X-CSRF-Token must repeat."""

    access: str
    refresh: str
    csrf: str


class TokenVerifier:
    """Verifies tokens and remembers the verified ones; only their expiry is checked each time."""

    def __init__(self) -> None:
        self._decoded = lru_cache(maxsize=_REMEMBERED)(_decode)

    def verify(self, token: str, kind: str | None = None) -> Claims:
        """Return the claims of a token; `kind` is `access` or `refresh`, or None for either.

        Raises `ServiceError` `auth_invalid` or `auth_expired`.
        """
        claims = self._decoded(token)
        if kind and claims.kind != kind:
            raise ServiceError("auth_invalid")
        if claims.expires <= time.time():
            raise ServiceError("auth_expired")
        return claims


def _decode(token: str) -> Claims:
    try:
        claims = decode_token(token, allow_expired=True)
        kind = claims["type"]
        return Claims(
            # SQL takes these as UUIDs.
            user_id=str(UUID(claims["sub"])),
            session_id=str(UUID(claims["sid"])),
            kind=kind,
            token_id=str(UUID(claims["jti"])) if kind == "refresh" else str(claims["jti"]),
            csrf=str(claims.get("csrf", "")),
            expires=float(claims["exp"]),
        )
    except (
        jwt.InvalidTokenError,
        JWTExtendedException,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
    ):
        raise ServiceError("auth_invalid") from None


def new_csrf_token() -> str:
    """Return a random value that a session keeps from login to logout."""
    return secrets.token_urlsafe(32)


def issue_tokens(user_id: str, session_id: str, refresh_id: str, csrf: str) -> TokenPair:
    """Sign the tokens of a session; `refresh_id` is the row that the refresh token names."""
    claims = {"sid": session_id, "csrf": csrf}
    return TokenPair(
        create_access_token(user_id, additional_claims=claims),
        create_refresh_token(user_id, additional_claims={**claims, "jti": refresh_id}),
        csrf,
    )


def set_cookies(response: Response, pair: TokenPair) -> None:
    """Set the three cookies of a session; each lasts as long as its token."""
    set_access_cookies(response, pair.access, max_age=ACCESS_SECONDS)
    set_refresh_cookies(response, pair.refresh, max_age=REFRESH_SECONDS)
    response.set_cookie(**_csrf_cookie(), value=pair.csrf, max_age=REFRESH_SECONDS)


def clear_cookies(response: Response) -> None:
    """Delete the three cookies of a session."""
    unset_jwt_cookies(response)
    response.set_cookie(**_csrf_cookie(), value="", max_age=0)


def _csrf_cookie() -> dict[str, Any]:
    return {
        "key": components().config.cookie_names.csrf,
        "secure": current_app.config["JWT_COOKIE_SECURE"],
        "samesite": current_app.config["JWT_COOKIE_SAMESITE"],
    }


def _key_id(key: str) -> str:
    """Return the `kid` header for a key (RFC 7515, 4.1.4), which does not reveal the key."""
    return hmac.digest(key.encode(), b"kid", "sha256")[:6].hex()


def init_app(app: Flask, config: Config) -> TokenVerifier:
    """Set up flask-jwt-extended and return the verifier of the application."""
    app.config.update(
        JWT_SECRET_KEY=config.jwt_secret,
        JWT_ENCODE_ISSUER=config.jwt_issuer,
        JWT_DECODE_ISSUER=config.jwt_issuer,
        JWT_ENCODE_AUDIENCE=config.jwt_audience,
        JWT_DECODE_AUDIENCE=config.jwt_audience,
        JWT_DECODE_LEEWAY=_CLOCK_SKEW,
        JWT_ENCODE_NBF=False,
        JWT_ACCESS_TOKEN_EXPIRES=ACCESS_SECONDS,
        JWT_REFRESH_TOKEN_EXPIRES=REFRESH_SECONDS,
        JWT_TOKEN_LOCATION=["cookies"],
        JWT_ACCESS_COOKIE_NAME=config.cookie_names.access,
        JWT_REFRESH_COOKIE_NAME=config.cookie_names.refresh,
        JWT_REFRESH_COOKIE_PATH="/api/v1/auth",
        # Browsers accept SameSite=None only with Secure.
        JWT_COOKIE_SECURE=config.production or config.cookie_samesite == "None",
        JWT_COOKIE_SAMESITE=config.cookie_samesite,
        JWT_COOKIE_CSRF_PROTECT=False,  # check_csrf() takes one value for the whole session
    )
    manager = JWTManager(app)
    keys = {_key_id(key): key for key in (config.jwt_secret, config.jwt_secret_previous) if key}
    manager.additional_headers_loader(lambda _identity: {"kid": _key_id(config.jwt_secret)})
    manager.decode_key_loader(
        lambda headers, _claims: keys.get(headers.get("kid"), config.jwt_secret)
    )
    return TokenVerifier()
