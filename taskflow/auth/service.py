"""The rules of accounts and sessions: how one begins, goes on and ends."""

import unicodedata
from typing import NamedTuple

from taskflow.auth import passwords, queries, tokens
from taskflow.auth.tokens import Claims, TokenPair
from taskflow.errors import ServiceError


class Client(NamedTuple):
    """The device that begins a session, as its user will recognise it."""

    user_agent: str | None
    ip_address: str | None


class Session(NamedTuple):
    """A session that began or was refreshed: its user's id and JSON, and its tokens."""

    user_id: str
    user: str
    tokens: TokenPair


def register(email: str, password: str, client: Client) -> Session:
    """Create an account and begin its first session; raises `ServiceError` `email_taken`."""
    password_hash = passwords.hash_password(password)
    user_id, user, session_id, refresh_id = queries.insert_user(
        email, _email_key(email), password_hash, *client
    )
    csrf = tokens.new_csrf_token()
    return Session(user_id, user, tokens.issue_tokens(user_id, session_id, refresh_id, csrf))


def login(email: str, password: str, client: Client) -> Session:
    """Begin a session.

    Raises `ServiceError` `invalid_credentials`; an unknown email takes as long as a wrong
    password.
    """
    for _ in range(2):  # a login at the same time may just have renewed the hash
        user_id, password_hash = queries.find_credentials(_email_key(email)) or (None, None)
        if not passwords.verify_password(password_hash, password):
            break
        rehash = passwords.needs_rehash(password_hash)
        new_hash = passwords.hash_password(password) if rehash else password_hash
        row = queries.insert_session(user_id, password_hash, new_hash, *client)
        if row is not None:
            user, session_id, refresh_id = row
            pair = tokens.issue_tokens(user_id, session_id, refresh_id, tokens.new_csrf_token())
            return Session(user_id, user, pair)
    raise ServiceError("invalid_credentials")


def refresh(claims: Claims) -> Session:
    """Rotate the refresh token of a session.

    A token that was used more than half a minute ago has two holders, one of them a thief, so the
    session ends. Raises `ServiceError` `auth_revoked`.
    """
    row = queries.rotate_refresh_token(claims.session_id, claims.token_id)
    if row is None:
        queries.delete_session(claims.user_id, claims.session_id)
        raise ServiceError("auth_revoked")
    user, refresh_id = row
    pair = tokens.issue_tokens(claims.user_id, claims.session_id, refresh_id, claims.csrf)
    return Session(claims.user_id, user, pair)


def change_password(user_id: str, session_id: str, current: str, new: str) -> None:
    """Change a password and end every other session of its user.

    Raises `ServiceError` `invalid_credentials` or `auth_revoked`.
    """
    verified_hash = _verify_password(user_id, session_id, current)
    new_hash = passwords.hash_password(new)
    if not queries.update_password(user_id, session_id, verified_hash, new_hash):
        raise ServiceError("invalid_credentials")


def delete_account(user_id: str, session_id: str, password: str) -> None:
    """Delete an account and all that it owns.

    Raises `ServiceError` `invalid_credentials` or `auth_revoked`.
    """
    verified_hash = _verify_password(user_id, session_id, password)
    if not queries.delete_user(user_id, verified_hash):
        raise ServiceError("invalid_credentials")


def _verify_password(user_id: str, session_id: str, password: str) -> str:
    password_hash = queries.find_password_hash(user_id, session_id)
    if password_hash is None:
        raise ServiceError("auth_revoked")
    if not passwords.verify_password(password_hash, password):
        raise ServiceError("invalid_credentials")
    return password_hash


def _email_key(email: str) -> str:
    """Return the form in which emails are compared, whatever the database's locale."""
    return unicodedata.normalize("NFC", email).lower()
