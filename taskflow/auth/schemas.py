"""Schemas of accounts and sessions, with the examples of the OpenAPI document."""

from typing import Any

from marshmallow import Schema, fields, validate
from marshmallow.exceptions import ValidationError

from taskflow.auth import passwords
from taskflow.auth.canonical import canonical_email, canonical_password
from taskflow.auth.tokens import ACCESS_SECONDS
from taskflow.http.fields import Text
from taskflow.http.schemas import InputSchema

# A test sends these examples and compares the answers with them.
CREDENTIALS = {"email": "ann@example.com", "password": "three purple teapots"}
PASSWORD = {"password": CREDENTIALS["password"]}
PASSWORD_CHANGE = {
    "currentPassword": CREDENTIALS["password"],
    "newPassword": "four yellow teapots",
}
USER = {
    "id": "01a20cbe-370d-784d-afde-7484248eaac5",
    "email": CREDENTIALS["email"],
    "createdAt": "2026-11-24T08:48:42.251606+00:00",
}
EMAIL_CHANGE = {"email": "ann@work.example", "password": CREDENTIALS["password"]}
PASSWORD_RESET = {
    "token": "01a20cbe-370d-784d-afde-7484248eaac5.aSbQzw.G0d1n1qJ8QeUu7TnTKHP5Yk6YB0JY2tO",
    "newPassword": "four yellow teapots",
}
SESSION_BODY = {
    "user": USER,
    "accessToken": "eyJ…",
    "tokenType": "Bearer",
    "expiresIn": ACCESS_SECONDS,
    "csrfToken": "UAgrFs05hr0HUyGBAqi9F3rVvx744A6vMlQUl4-qc4o",
}
SESSION: dict[str, Any] = {
    "id": "01a20cbe-370e-7c1a-8d3b-5f6e7a8b9c0d",
    "createdAt": "2026-11-24T08:48:42.251606+00:00",
    "lastUsedAt": "2026-11-24T09:03:40.118204+00:00",
    "expiresAt": "2026-12-01T09:03:40.118204+00:00",
    "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "ipAddress": "127.0.0.1",
    "current": True,
}
SESSION_LIST = {"data": [SESSION]}


_EMAIL_RULE = validate.Email()
_NEW_PASSWORD_LENGTH = 128  # characters in NFC
# The time to normalise a text grows with the square of the number of its combining marks: half a
# MiB of them takes minutes.
_LONGEST_TYPED = 8 * _NEW_PASSWORD_LENGTH


class Email(Text):
    """An email address, kept as written but for white space at both ends."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(3, 254, trim=True, metadata={"format": "email"}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            _EMAIL_RULE(canonical_email(text))
            is_valid = text.isprintable()  # two accounts must not look the same
        except ValueError:  # or marshmallow's ValidationError, a subclass
            is_valid = False
        if not is_valid:
            raise ValidationError(validate.Email.default_message)
        return text


class NewPassword(Text):
    """A password in canonical form, which must not be a common one."""

    def __init__(self) -> None:
        description = "Common passwords, the service's name and the email are refused."
        super().__init__(
            8, _NEW_PASSWORD_LENGTH, required=True, metadata={"description": description}
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and len(value) <= _LONGEST_TYPED:
            value = canonical_password(value)
        text = super()._deserialize(value, attr, data, **kwargs)
        if passwords.is_common(text):
            raise ValidationError("Must not be a common password.")
        return text


def _known_password() -> Text:
    # Accepts more than 128 characters, so that a long guess is a wrong password and not a
    # validation error.
    return Text(0, 1024, required=True)


class RegistrationSchema(InputSchema):
    """The email and password of a new account."""

    email = Email(required=True)
    password = NewPassword()


class LoginSchema(InputSchema):
    """The email and password of an account."""

    email = Text(0, 254, required=True)
    password = _known_password()


class PasswordChangeSchema(InputSchema):
    """The current password and the new one."""

    currentPassword = _known_password()
    newPassword = NewPassword()


class PasswordResetSchema(InputSchema):
    """A reset token and the new password."""

    token = Text(1, 1024, required=True)
    newPassword = NewPassword()


class EmailChangeSchema(InputSchema):
    """The new email, and the password of the account as a confirmation."""

    email = Email(required=True)
    password = _known_password()


class AccountDeletionSchema(InputSchema):
    """The password of the account, as a confirmation."""

    password = _known_password()


class UserSchema(Schema):
    """A user."""

    id = fields.UUID(required=True)
    email = fields.String(required=True)
    createdAt = fields.AwareDateTime(required=True)


class SessionBodySchema(Schema):
    """The user and the tokens of a session."""

    user = fields.Nested(UserSchema, required=True)
    accessToken = fields.String(required=True)
    tokenType = fields.String(required=True, metadata={"enum": ["Bearer"]})
    expiresIn = fields.Integer(required=True, metadata={"description": "Seconds."})
    csrfToken = fields.String(
        required=True,
        metadata={"description": "The value of X-CSRF-Token, from login to logout."},
    )


class SessionSchema(Schema):
    """A session that has not ended."""

    id = fields.UUID(required=True)
    createdAt = fields.AwareDateTime(required=True)
    lastUsedAt = fields.AwareDateTime(required=True)
    expiresAt = fields.AwareDateTime(required=True)
    userAgent = fields.String(required=True, allow_none=True)
    ipAddress = fields.String(required=True, allow_none=True)
    current = fields.Boolean(required=True)


class SessionListSchema(Schema):
    """The sessions of a user."""

    data = fields.List(fields.Nested(SessionSchema), required=True)
