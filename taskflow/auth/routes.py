"""The routes of accounts and sessions."""

from typing import Any

from flask import Response, request

from taskflow.auth import queries, service, sessions, tokens
from taskflow.auth.credentials import (
    authenticate_any,
    authenticate_refresh,
    find_replaced_session,
)
from taskflow.auth.queries import NewSession
from taskflow.auth.schemas import (
    CREDENTIALS,
    EMAIL_CHANGE,
    PASSWORD,
    PASSWORD_CHANGE,
    PASSWORD_RESET,
    SESSION,
    SESSION_BODY,
    SESSION_LIST,
    USER,
    AccountDeletionSchema,
    EmailChangeSchema,
    LoginSchema,
    PasswordChangeSchema,
    PasswordResetSchema,
    RegistrationSchema,
    SessionBodySchema,
    SessionListSchema,
    UserSchema,
)
from taskflow.auth.service import Session
from taskflow.errors import ServiceError
from taskflow.http.answers import compact_json, json_response, no_content
from taskflow.http.context import components, request_context
from taskflow.http.fields import is_uuid
from taskflow.http.openapi.components import COOKIES, uuid_parameter
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
    return _session_response(service.register(**body, session=_new_session()), 201)


@blueprint.route(
    "/login", methods=["POST"], public=True, budget="passwords", errors=("invalid_credentials",)
)
@blueprint.arguments(LoginSchema, example=CREDENTIALS)
@blueprint.response(200, SessionBodySchema, example=SESSION_BODY, headers=COOKIES)
def login(body: dict[str, Any]) -> Response:
    """Log in.

    Begins a new session, and ends the session whose refresh cookie is sent. Other sessions of the
    account continue. An unknown email and a wrong password get the same answer.
    """
    return _session_response(service.login(**body, session=_new_session()))


@blueprint.route("/refresh", methods=["POST"], public=True, errors=("auth_revoked",))
@blueprint.doc(security=[{"refreshAuth": []}, {"bearerAuth": []}])
@blueprint.response(200, SessionBodySchema, example=SESSION_BODY, headers=COOKIES)
def refresh() -> Response:
    """Refresh a session.

    Takes the refresh token from its cookie, or else as a bearer, and rotates it. Tabs may refresh
    at the same time, and a client may try again after a lost answer. The reuse of an older token
    ends the session, because such a token was copied.
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
    sessions.delete_session(claims.user_id, claims.session_id)
    response = no_content()
    tokens.clear_cookies(response)
    return response


@blueprint.route("/me", methods=["GET"], errors=("auth_revoked",))
@blueprint.response(200, UserSchema, example=USER)
def get_account() -> Response:
    """Get the account.

    Returns 401 as soon as the session has ended.
    """
    user = queries.find_user(request_context().caller)
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
    service.delete_account(request_context().caller, body["password"])
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

    Ends every other session. This one continues with its tokens.
    """
    caller = request_context().caller
    service.change_password(caller, body["currentPassword"], body["newPassword"])
    return no_content()


@blueprint.route(
    "/password/reset",
    methods=["POST"],
    public=True,
    budget="passwords",
    errors=("auth_invalid", "auth_expired"),
)
@blueprint.arguments(PasswordResetSchema, example=PASSWORD_RESET)
@blueprint.response(204)
def reset_password(body: dict[str, Any]) -> Response:
    """Reset the password.

    Takes a token that the operator makes with `python -m taskflow reset-password`. The token works
    once, within an hour. Ends every session of the account.
    """
    service.reset_password(body["token"], body["newPassword"], components().config.jwt_secrets)
    return no_content()


@blueprint.route(
    "/email",
    methods=["PUT"],
    budget="passwords",
    errors=("auth_revoked", "invalid_credentials", "email_taken"),
)
@blueprint.arguments(EmailChangeSchema, example=EMAIL_CHANGE)
@blueprint.response(200, UserSchema, example={**USER, "email": EMAIL_CHANGE["email"]})
def change_email(body: dict[str, Any]) -> Response:
    """Change the email.

    Sessions continue. The next login needs the new email.
    """
    caller = request_context().caller
    return json_response(service.change_email(caller, body["email"], body["password"]))


@blueprint.route("/sessions", methods=["GET"], errors=("auth_revoked",))
@blueprint.response(200, SessionListSchema, example=SESSION_LIST)
def list_sessions() -> Response:
    """List the live sessions.

    The newest comes first. `current` marks the session of this request.
    """
    rows = sessions.list_sessions(request_context().caller)
    if not rows:
        raise ServiceError("auth_revoked")
    return json_response(f'{{"data":[{",".join(text for (text,) in rows)}]}}')


@blueprint.route(
    "/sessions/<session_id>",
    methods=["DELETE"],
    errors=("not_found", "auth_revoked"),
    parameters=[uuid_parameter("session_id", SESSION["id"])],
)
@blueprint.response(204)
def revoke_session(session_id: str) -> Response:
    """Revoke a session.

    Its tokens are refused from then on.
    """
    if not is_uuid(session_id):
        raise ServiceError("not_found")
    was_live = sessions.revoke_session(request_context().caller, session_id)
    if was_live is None:
        raise ServiceError("auth_revoked")
    if not was_live:
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


def _new_session() -> NewSession:
    agent, address = request.headers.get("User-Agent"), request.remote_addr
    return NewSession.create(
        agent and agent.replace("\0", "")[:USER_AGENT_LENGTH],
        address and address.replace("\0", ""),
        find_replaced_session(request),
    )
