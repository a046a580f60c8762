"""The rules of accounts and sessions."""

from collections.abc import Sequence
from typing import NamedTuple

from taskflow.auth import passwords, queries, sessions, tokens
from taskflow.auth.queries import NewSession
from taskflow.auth.resets import user_of_reset_token, verify_reset_token
from taskflow.auth.tokens import Claims, TokenPair
from taskflow.errors import ServiceError
from taskflow.http.context import Caller


class Session(NamedTuple):
    """A session that began or was refreshed: its user's id and JSON, and its tokens."""

    user_id: str
    user: str
    tokens: TokenPair


def register(email: str, password: str, session: NewSession) -> Session:
    """Create an account and begin its first session.

    Raises `ServiceError` `email_taken`, or `validation_error` for a guessable password.
    """
    _refuse_guessable("password", password, email)
    password_hash = passwords.hash_password(password)
    user_id, user = queries.insert_user(email, password_hash, session)
    return _begun(user_id, user, session)


def login(email: str, password: str, session: NewSession) -> Session:
    """Begin a session.

    Raises `ServiceError` `invalid_credentials`; an unknown email takes as long as a wrong
    password.
    """
    for _ in range(2):  # a login at the same time may just have renewed the hash
        user_id, password_hash = queries.find_credentials(email) or (None, None)
        if not passwords.verify_password(password_hash, password):
            break
        new_hash = password_hash
        if passwords.needs_rehash(password_hash, password):
            new_hash = passwords.hash_password(password)
        user = queries.insert_session(user_id, password_hash, new_hash, session)
        if user is not None:
            return _begun(user_id, user, session)
    raise ServiceError("invalid_credentials")


def _begun(user_id: str, user: str, session: NewSession) -> Session:
    csrf = tokens.new_csrf_token()
    pair = tokens.issue_tokens(user_id, session.session_id, session.refresh_id, csrf)
    return Session(user_id, user, pair)


def refresh(claims: Claims) -> Session:
    """Rotate the refresh token of a session.

    If an older token is reused, it has two holders, one of them a thief, so the session ends.
    Raises `ServiceError` `auth_revoked`.
    """
    row = sessions.rotate_refresh_token(claims.caller, claims.token_id)
    if row is None:
        sessions.delete_session(claims.user_id, claims.session_id)
        raise ServiceError("auth_revoked")
    user, refresh_id = row
    pair = tokens.issue_tokens(claims.user_id, claims.session_id, refresh_id, claims.csrf)
    return Session(claims.user_id, user, pair)


def change_email(caller: Caller, email: str, password: str) -> str:
    """Change an email and return the user's JSON.

    Raises `ServiceError` `invalid_credentials`, `email_taken` or `auth_revoked`.
    """
    _, verified_hash = _verify_password(caller, password)
    user = queries.update_email(caller, email, verified_hash)
    if user is None:
        raise _refusal(caller)
    return user


def change_password(caller: Caller, current: str, new: str) -> None:
    """Change a password and end every other session of its user.

    Raises `ServiceError` `invalid_credentials`, `auth_revoked`, or `validation_error` for a
    guessable password.
    """
    email, verified_hash = _verify_password(caller, current)
    _refuse_guessable("newPassword", new, email)
    new_hash = passwords.hash_password(new)
    if not queries.update_password(caller.user_id, verified_hash, new_hash, caller.session_id):
        raise _refusal(caller)


def reset_password(token: str, new: str, secrets: Sequence[str]) -> None:
    """Change a password by a reset token and end every session of its user.

    Raises `ServiceError` `auth_invalid`, `auth_expired`, or `validation_error` for a guessable
    password.
    """
    user_id = user_of_reset_token(token)
    account = queries.find_account_to_reset(user_id)
    if account is None:
        raise ServiceError("auth_invalid")
    email, password_hash = account
    verify_reset_token(token, password_hash, secrets)
    _refuse_guessable("newPassword", new, email)
    if not queries.update_password(user_id, password_hash, passwords.hash_password(new)):
        raise ServiceError("auth_invalid")


def delete_account(caller: Caller, password: str) -> None:
    """Delete an account and all its data.

    Raises `ServiceError` `invalid_credentials` or `auth_revoked`.
    """
    _, verified_hash = _verify_password(caller, password)
    if not queries.delete_user(caller, verified_hash):
        raise _refusal(caller)


def _verify_password(caller: Caller, password: str) -> tuple[str, str]:
    """Return the caller's email and password hash, if the password matches."""
    account = queries.find_account(caller)
    if account is None:
        raise ServiceError("auth_revoked")
    email, password_hash = account
    if not passwords.verify_password(password_hash, password):
        raise ServiceError("invalid_credentials")
    return email, password_hash


def _refusal(caller: Caller) -> ServiceError:
    """Return why nothing was written: the session ended, or the password changed, meanwhile."""
    is_live = queries.find_account(caller) is not None
    return ServiceError("invalid_credentials" if is_live else "auth_revoked")


def _refuse_guessable(field: str, password: str, email: str) -> None:
    if passwords.is_guessable(password, email):
        message = "Must not be the service's name or your email."
        raise ServiceError("validation_error", [(field, message)])
