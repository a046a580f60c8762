"""The rules of accounts and sessions: who may begin one, go on with one and end one."""

import unicodedata
from typing import NamedTuple

from flask import Request

from taskflow.auth import passwords, queries, tokens
from taskflow.auth.tokens import Claims, TokenPair
from taskflow.errors import ServiceError

USER_AGENT_LENGTH = 256  # characters kept: enough to recognise one's own device


class Session(NamedTuple):
    """A session that was begun or refreshed: its user's id and JSON, and its tokens."""

    user_id: str
    user: str
    tokens: TokenPair


def register(request: Request, email: str, password: str) -> Session:
    """Make an account and begin its first session; raises `ServiceError` `email_taken`."""
    user_id, user, session_id, refresh_id = queries.insert_user(
        email, _email_key(email), passwords.hash_password(password), *_client_of(request)
    )
    csrf = tokens.new_csrf_token()
    return Session(user_id, user, tokens.issue(user_id, session_id, refresh_id, csrf))


def login(request: Request, email: str, password: str) -> Session:
    """Begin a session; raises `ServiceError` `invalid_credentials`, for either in equal time."""
    for _ in range(2):  # a login beside this one may just have renewed the hash
        found = queries.find_credentials(_email_key(email))
        user_id, password_hash = found or (None, None)
        if not passwords.verify_password(password_hash, password):
            break
        rehash = passwords.needs_rehash(password_hash)
        new_hash = passwords.hash_password(password) if rehash else password_hash
        row = queries.insert_session(user_id, password_hash, new_hash, *_client_of(request))
        if row is not None:
            user, session_id, refresh_id = row
            csrf = tokens.new_csrf_token()
            return Session(user_id, user, tokens.issue(user_id, session_id, refresh_id, csrf))
    raise ServiceError("invalid_credentials")


def refresh(request: Request) -> Session:
    """Go on with a session: rotate its refresh token.

    A token that was used more than half a minute ago has two holders, one of them a thief: the
    whole session ends. Raises `ServiceError` `auth_missing`, `auth_invalid`, `auth_expired`,
    `auth_revoked` or `csrf_failed`.
    """
    claims = _refresh_claims(request)
    if claims is None:
        bearer = tokens.bearer_of(request)
        if bearer is None:
            raise ServiceError("auth_missing")
        claims = tokens.verifier().verify(bearer, "refresh")
    row = queries.rotate_refresh_token(claims.session_id, claims.token_id)
    if row is None:
        queries.delete_session(claims.user_id, claims.session_id)
        raise ServiceError("auth_revoked")
    user, refresh_id = row
    pair = tokens.issue(claims.user_id, claims.session_id, refresh_id, claims.csrf)
    return Session(claims.user_id, user, pair)


def logout(request: Request) -> str:
    """End the session of whichever token came, if it had not ended already; give its user's id.

    A cookie that is no good does not keep the next token from being looked at: a page can't
    remove it. Raises `ServiceError` `auth_missing`, `auth_invalid`, `auth_expired` or
    `csrf_failed`.
    """
    failure = ServiceError("auth_missing")
    for find in (_refresh_claims, _bearer_claims, _access_claims):
        try:
            claims = find(request)
        except ServiceError as error:
            failure = error
            continue
        if claims is not None:
            queries.delete_session(claims.user_id, claims.session_id)
            return claims.user_id
    raise failure


def _refresh_claims(request: Request) -> Claims | None:
    """Verify the refresh cookie, which is looked at first, whatever the header holds."""
    return _cookie_claims(request, tokens.REFRESH_COOKIE, "refresh")


def _access_claims(request: Request) -> Claims | None:
    return _cookie_claims(request, tokens.ACCESS_COOKIE, "access")


def _cookie_claims(request: Request, name: str, kind: str) -> Claims | None:
    cookie = request.cookies.get(name)
    if not cookie:
        return None
    claims = tokens.verifier().verify(cookie, kind)
    tokens.check_csrf(request, claims)
    return claims


def _bearer_claims(request: Request) -> Claims | None:
    bearer = tokens.bearer_of(request)
    return tokens.verifier().verify(bearer) if bearer else None


def change_password(user_id: str, session_id: str, current: str, new: str) -> None:
    """Change a password and end every other session of its user.

    Raises `ServiceError` `invalid_credentials` or `auth_revoked`.
    """
    verified_hash = _verify(user_id, session_id, current)
    new_hash = passwords.hash_password(new)
    if not queries.update_password(user_id, session_id, verified_hash, new_hash):
        raise ServiceError("invalid_credentials")


def delete_account(user_id: str, session_id: str, password: str) -> None:
    """Delete an account and all that it owns.

    Raises `ServiceError` `invalid_credentials` or `auth_revoked`.
    """
    verified_hash = _verify(user_id, session_id, password)
    if not queries.delete_user(user_id, verified_hash):
        raise ServiceError("invalid_credentials")


def _verify(user_id: str, session_id: str, password: str) -> str:
    password_hash = queries.find_password_hash(user_id, session_id)
    if password_hash is None:
        raise ServiceError("auth_revoked")
    if not passwords.verify_password(password_hash, password):
        raise ServiceError("invalid_credentials")
    return password_hash


def _email_key(email: str) -> str:
    """Give what makes two spellings the same email, whatever the database's locale."""
    return unicodedata.normalize("NFC", email).lower()


def _client_of(request: Request) -> tuple[str | None, str | None]:
    agent, address = request.headers.get("User-Agent"), request.remote_addr
    return (
        agent and agent.replace("\0", "")[:USER_AGENT_LENGTH],
        address and address.replace("\0", ""),
    )
