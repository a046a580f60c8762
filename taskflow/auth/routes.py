"""The routes of accounts and sessions."""

from typing import Any

from flask import Response, request

from taskflow.auth import queries, service, tokens
from taskflow.auth.credentials import authenticate_any, authenticate_refresh
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
from taskflow.auth.service import Client, Session
from taskflow.errors import ServiceError
from taskflow.http.answers import compact_json, json_response, no_content
from taskflow.http.context import request_context
from taskflow.http.fields import is_uuid
from taskflow.http.openapi import COOKIES, uuid_parameter
from taskflow.http.parsing import header_of
from taskflow.http.routing import Blueprint

USER_AGENT_LENGTH = 256  # characters kept: enough to recognise one's own device

blueprint = Blueprint(
    "auth", __name__, url_prefix="/api/v1/auth", description="Accounts and sessions."
)


@blueprint.route(
    "/register", methods=["POST"], public=True, budget="passwords", errors=("email_taken",)
)
@blueprint.arguments(RegistrationSchema, example=CREDENTIALS)
@blueprint.response(201, SessionBodySchema, example=SESSION_BODY, headers=COOKIES)
def register(body: dict[str, Any]) -> Response:
    """Register an account.

    Begins its first session. `ann@example.com` and `Ann@Example.com` are one account.
    """
    return _session_response(service.register(**body, client=_client()), 201)


@blueprint.route(
    "/login", methods=["POST"], public=True, budget="passwords", errors=("invalid_credentials",)
)
@blueprint.arguments(LoginSchema, example=CREDENTIALS)
@blueprint.response(200, SessionBodySchema, example=SESSION_BODY, headers=COOKIES)
def login(body: dict[str, Any]) -> Response:
    """Log in.

    Begins a new session; other sessions of the account go on. An unknown email and a wrong
    password get the same answer.
    """
    return _session_response(service.login(**body, client=_client()))


@blueprint.route("/refresh", methods=["POST"], public=True, errors=("auth_revoked",))
@blueprint.doc(security=[{"refreshAuth": []}, {"bearerAuth": []}])
@blueprint.response(200, SessionBodySchema, example=SESSION_BODY, headers=COOKIES)
def refresh() -> Response:
    """Refresh a session.

    Takes the refresh token from its cookie, or else as a bearer, and rotates it. A used token
    works for another 30 seconds. Using it later ends the session.
    """
    return _session_response(service.refresh(authenticate_refresh(request)))


@blueprint.route("/logout", methods=["POST"], public=True)
@blueprint.doc(security=[{"refreshAuth": []}, {"bearerAuth": []}, {"cookieAuth": []}])
@blueprint.response(204, headers=COOKIES)
def logout() -> Response:
    """Log out.

    Ends the session of the refresh or access token, and clears the cookies.
    """
    claims = authenticate_any(request)
    request_context().user_id = claims.user_id
    queries.delete_session(claims.user_id, claims.session_id)
    response = no_content()
    tokens.clear_cookies(response)
    return response


@blueprint.route("/me", methods=["GET"], errors=("auth_revoked",))
@blueprint.response(200, UserSchema, example=USER)
def get_account() -> Response:
    """Get the account.

    Returns 401 as soon as the session has ended.
    """
    context = request_context()
    user = queries.find_user(context.user_id, context.session_id)
    if user is None:
        raise ServiceError("auth_revoked")
    return json_response(user)


@blueprint.route(
    "/me",
    methods=["DELETE"],
    budget="passwords",
    errors=("auth_revoked", "invalid_credentials"),
)
@blueprint.arguments(AccountDeletionSchema, example=PASSWORD)
@blueprint.response(204, headers=COOKIES)
def delete_account(body: dict[str, Any]) -> Response:
    """Delete the account.

    Deletes its sessions and tasks too, for good. The email can be registered again.
    """
    context = request_context()
    service.delete_account(context.user_id, context.session_id, body["password"])
    response = no_content()
    tokens.clear_cookies(response)
    return response


@blueprint.route(
    "/password",
    methods=["PUT"],
    budget="passwords",
    errors=("auth_revoked", "invalid_credentials"),
)
@blueprint.arguments(PasswordChangeSchema, example=PASSWORD_CHANGE)
@blueprint.response(204)
def change_password(body: dict[str, Any]) -> Response:
    """Change the password.

    Ends every other session. This one goes on with its tokens.
    """
    context = request_context()
    service.change_password(
        context.user_id, context.session_id, body["currentPassword"], body["newPassword"]
    )
    return no_content()


@blueprint.route("/sessions", methods=["GET"], errors=("auth_revoked",))
@blueprint.response(200, SessionListSchema, example=SESSION_LIST)
def list_sessions() -> Response:
    """List the live sessions.

    The newest comes first. `current` marks the session of this request.
    """
    context = request_context()
    sessions = queries.list_sessions(context.user_id, context.session_id)
    if not any(current for _, current in sessions):
        raise ServiceError("auth_revoked")
    return json_response(f'{{"data":[{",".join(text for text, _ in sessions)}]}}')


@blueprint.route(
    "/sessions/<session_id>",
    methods=["DELETE"],
    errors=("not_found",),
    parameters=[uuid_parameter("session_id", SESSION["id"])],
)
@blueprint.response(204)
def revoke_session(session_id: str) -> Response:
    """Revoke a session.

    It can't be refreshed any more. Its access token expires within 15 minutes.
    """
    user_id = request_context().user_id
    if not is_uuid(session_id) or not queries.delete_session(user_id, session_id):
        raise ServiceError("not_found")
    return no_content()


def _session_response(session: Session, status: int = 200) -> Response:
    request_context().user_id = session.user_id
    body = {
        "accessToken": session.tokens.access,
        "tokenType": "Bearer",
        "expiresIn": tokens.ACCESS_SECONDS,
        "csrfToken": session.tokens.csrf,
    }
    response = json_response(f'{{"user":{session.user},{compact_json(body)[1:]}', status)
    tokens.set_cookies(response, session.tokens)
    return response


def _client() -> Client:
    agent, address = header_of(request, "User-Agent"), request.remote_addr
    return Client(
        agent and agent.replace("\0", "")[:USER_AGENT_LENGTH],
        address and address.replace("\0", ""),
    )
