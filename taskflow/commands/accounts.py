"""Commands that list accounts, reset a password and end sessions."""

from taskflow.auth.canonical import keys_of_email
from taskflow.auth.queries import FIND_CREDENTIALS
from taskflow.auth.resets import make_reset_token as sign_reset_token
from taskflow.commands.errors import CommandError
from taskflow.config import Config
from taskflow.database import Database
from taskflow.database.sql import utc_text

BATCH = 1000  # users that a statement reads
_FIRST = "00000000-0000-0000-0000-000000000000"

_LIST_USERS = f"""
/* list_users */
SELECT id::text, email, {utc_text("created_at")},
       (SELECT count(*) FROM tasks WHERE user_id = users.id),
       (SELECT count(*) FROM sessions WHERE user_id = users.id AND expires_at > now())
FROM users
WHERE id > %(after)s::uuid
ORDER BY id
LIMIT %(batch)s
"""
_END_SESSIONS = """
/* end_sessions */
DELETE FROM sessions
WHERE user_id = %(user_id)s::uuid
RETURNING expires_at > now()
"""


def list_users(config: Config) -> str:
    """Return a line for each account: email, id, creation, tasks and live sessions."""
    database, after, lines = Database(config), _FIRST, []
    while rows := database.query(_LIST_USERS, {"after": after, "batch": BATCH}):
        lines += [
            f"{email}\t{user_id}\t{created}\t{tasks}\t{sessions}"
            for user_id, email, created, tasks, sessions in rows
        ]
        after = rows[-1][0]
    return "\n".join(lines)


def make_reset_token(config: Config, email: str) -> str:
    """Return a line that ends with a token; raises `CommandError` for an unknown email."""
    user_id, password_hash = _get_credentials(Database(config), email)
    token = sign_reset_token(user_id, password_hash, config.jwt_secrets)
    return f"taskflow: this token resets the password of {email} within an hour: {token}"


def end_sessions(config: Config, email: str) -> str:
    """End all sessions of an account; raises `CommandError` for an unknown email."""
    database = Database(config)
    user_id, _ = _get_credentials(database, email)
    were_live = [live for (live,) in database.execute(_END_SESSIONS, {"user_id": user_id})]
    return f"taskflow: ended {sum(were_live)} sessions of {email}"


def _get_credentials(database: Database, email: str) -> tuple[str, str]:
    try:
        email.encode()
    except UnicodeEncodeError:  # an argument that is not UTF-8 has lone surrogates
        raise CommandError("the email is not UTF-8") from None
    rows = database.query(FIND_CREDENTIALS, {"keys": keys_of_email(email)})
    if not rows:
        raise CommandError(f"no account has the email {email}")
    user_id, password_hash = rows[0]
    return user_id, password_hash
