"""The routes of accounts and sessions."""

from typing import Any

from flask import Response, g, request

from taskflow.api import json_response, no_content
from taskflow.auth import queries, service, tokens
from taskflow.auth.schemas import (
    CREDENTIALS,
    PASSWORD,
    PASSWORD_CHANGE,
    SESSION,
    SESSION_BODY,
    SESSION_LIST,
    USER,
    AccountDeletionSchema,
    LoginSchema,
    PasswordChangeSchema,
    RegistrationSchema,
    SessionBodySchema,
    SessionListSchema,
    UserSchema,
)
from taskflow.auth.service import Session
from taskflow.errors import ServiceError, compact_json
from taskflow.fields import is_uuid
from taskflow.openapi import Blueprint, uuid_parameter

blueprint = Blueprint(
    "auth", __name__, url_prefix="/api/v1/auth", description="Accounts and sessions."
)

COOKIES = {
    "Set-Cookie": {
        "description": "`access_token`, `refresh_token` and `csrf_token`, each in its own.",
        "schema": {"type": "string"},
    }
}
SESSION_ID = uuid_parameter("session_id", SESSION["id"])


@blueprint.route("/register", methods=["POST"])
@blueprint.errors("email_taken")
@blueprint.doc(security=[])
@blueprint.arguments(RegistrationSchema, example=CREDENTIALS)
@blueprint.response(201, SessionBodySchema, example=SESSION_BODY, headers=COOKIES)
def register(body: dict[str, Any]) -> Response:
    """Register an account.

    Begins its first session. `ann@example.com` and `Ann@Example.com` are one account.
    """
    return _session_response(service.register(request, **body), 201)


@blueprint.route("/login", methods=["POST"])
@blueprint.errors("invalid_credentials")
@blueprint.doc(security=[])
@blueprint.arguments(LoginSchema, example=CREDENTIALS)
@blueprint.response(200, SessionBodySchema, example=SESSION_BODY, headers=COOKIES)
def login(body: dict[str, Any]) -> Response:
    """Log in.

    Begins a session beside those that there are. An unknown email and a wrong password are
    answered alike.
    """
    return _session_response(service.login(request, **body))


@blueprint.route("/refresh", methods=["POST"])
@blueprint.errors("auth_revoked")
@blueprint.doc(security=[{"refreshAuth": []}, {"bearerAuth": []}])
@blueprint.response(200, SessionBodySchema, example=SESSION_BODY, headers=COOKIES)
def refresh() -> Response:
    """Refresh a session.

    Takes the refresh token from its cookie, else as a bearer, and rotates it. A token that was
    rotated out works for 30 seconds more; after that, its use ends the session.
    """
    return _session_response(service.refresh(request))


@blueprint.route("/logout", methods=["POST"])
@blueprint.doc(security=[{"refreshAuth": []}, {"bearerAuth": []}, {"cookieAuth": []}])
@blueprint.response(204, headers=COOKIES)
def logout() -> Response:
    """Log out.

    Ends the session of the refresh or access token that came, and clears the cookies.
    """
    g.user_id = service.logout(request)
    response = no_content()
    tokens.clear_cookies(response)
    return response


@blueprint.route("/me", methods=["GET"])
@blueprint.errors("auth_revoked")
@blueprint.response(200, UserSchema, example=USER)
def get_account() -> Response:
    """Get the account that is logged in.

    It knows of a logout at once, where tasks open to an access token until it expires.
    """
    user = queries.find_user(g.user_id, g.session_id)
    if user is None:
        raise ServiceError("auth_revoked")
    return json_response(user)


@blueprint.route("/me", methods=["DELETE"])
@blueprint.errors("auth_revoked", "invalid_credentials")
@blueprint.arguments(AccountDeletionSchema, example=PASSWORD)
@blueprint.response(204, headers=COOKIES)
def delete_account(body: dict[str, Any]) -> Response:
    """Delete the account that is logged in.

    With its sessions and tasks, for good. The email is free again.
    """
    service.delete_account(g.user_id, g.session_id, body["password"])
    response = no_content()
    tokens.clear_cookies(response)
    return response


@blueprint.route("/password", methods=["PUT"])
@blueprint.errors("auth_revoked", "invalid_credentials")
@blueprint.arguments(PasswordChangeSchema, example=PASSWORD_CHANGE)
@blueprint.response(204)
def change_password(body: dict[str, Any]) -> Response:
    """Change the password.

    Ends every other session; this one goes on, with its tokens.
    """
    service.change_password(g.user_id, g.session_id, body["currentPassword"], body["newPassword"])
    return no_content()


@blueprint.route("/sessions", methods=["GET"])
@blueprint.errors("auth_revoked")
@blueprint.response(200, SessionListSchema, example=SESSION_LIST)
def list_sessions() -> Response:
    """List the sessions that have not ended.

    Newest first; `current` is the one that asks.
    """
    sessions = queries.list_sessions(g.user_id, g.session_id)
    if not any(current for _, current in sessions):
        raise ServiceError("auth_revoked")
    return json_response(f'{{"data":[{",".join(text for text, _ in sessions)}]}}')


@blueprint.route("/sessions/<session_id>", methods=["DELETE"], parameters=[SESSION_ID])
@blueprint.errors("not_found")
@blueprint.response(204)
def revoke_session(session_id: str) -> Response:
    """Revoke a session.

    It can't be refreshed from now on; its access token ends within 15 minutes.
    """
    if not is_uuid(session_id) or not queries.delete_session(g.user_id, session_id):
        raise ServiceError("not_found")
    return no_content()


def _session_response(session: Session, status: int = 200) -> Response:
    g.user_id = session.user_id
    body = {
        "accessToken": session.tokens.access,
        "tokenType": "Bearer",
        "expiresIn": tokens.ACCESS_SECONDS,
        "csrfToken": session.tokens.csrf,
    }
    response = json_response(f'{{"user":{session.user},{compact_json(body)[1:]}', status)
    tokens.set_cookies(response, session.tokens)
    return response
