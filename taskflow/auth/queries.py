"""The SQL of accounts, one statement a function."""

from typing import NamedTuple

from taskflow.auth.canonical import canonical_email, keys_of_email
from taskflow.auth.tokens import REFRESH_SECONDS
from taskflow.database import Row
from taskflow.database.sql import LIVE_SESSION, utc_text
from taskflow.http.context import Caller, components
from taskflow.ids import new_id


def user_json(source: str) -> str:
    """Return the SQL of a user's JSON; `source` has the columns of `users`."""
    return f"""
    (SELECT row_to_json(u)::text
     FROM (SELECT {source}.id, {source}.email, {utc_text(f"{source}.created_at")} AS "createdAt")
       AS u)
    """


class NewSession(NamedTuple):
    """A session to insert; `ended_id` is the session that it replaces, if any."""

    session_id: str
    refresh_id: str
    user_agent: str | None
    ip_address: str | None
    ended_id: str | None
    lifetime: int  # seconds

    @classmethod
    def create(
        cls, user_agent: str | None, ip_address: str | None, ended_id: str | None
    ) -> "NewSession":
        """Create a session's ids and its lifetime."""
        lifetime = min(REFRESH_SECONDS, components().config.session_max_days * 86_400)
        return cls(new_id(), new_id(), user_agent, ip_address, ended_id, lifetime)


# CTEs that begin a session for the row of another CTE, `account`, which has an `id`.
_BEGIN_SESSION = """
session AS (
  INSERT INTO sessions (id, user_id, expires_at, user_agent, ip_address)
  SELECT %(session_id)s::uuid, id, now() + %(lifetime)s * interval '1 second', %(user_agent)s,
         %(ip_address)s
  FROM account
  RETURNING id
), token AS (
  INSERT INTO refresh_tokens (id, session_id)
  SELECT %(refresh_id)s::uuid, id
  FROM session
), ended AS (
  DELETE FROM sessions
  WHERE id = %(ended_id)s::uuid
    AND EXISTS (SELECT 1 FROM account)
)
"""


def insert_user(email: str, password_hash: str, session: NewSession) -> Row:
    """Insert a user with a first session; return the user's id and JSON.

    Raises `ServiceError` `email_taken`.
    """
    [row] = components().database.execute(
        f"""
        /* insert_user */
        WITH account AS (
          INSERT INTO users (id, email, email_key, password_hash)
          VALUES (%(user_id)s::uuid, %(email)s, %(email_key)s, %(password_hash)s)
          RETURNING id, email, created_at
        ), {_BEGIN_SESSION}
        SELECT id::text, {user_json("account")}
        FROM account
        """,
        {
            "user_id": new_id(),
            "email": email,
            "email_key": canonical_email(email),
            "password_hash": password_hash,
            **session._asdict(),
        },
    )
    return row


def insert_session(
    user_id: str, verified_hash: str, new_hash: str, session: NewSession
) -> str | None:
    """Insert a session and return the user's JSON, or None if the password has just changed.

    The lock on the user makes a login and a password change happen one after the other.
    """
    rows = components().database.execute(
        f"""
        /* insert_session */
        WITH account AS (
          UPDATE users
          SET password_hash = %(new_hash)s
          WHERE id = %(user_id)s::uuid
            AND password_hash = %(verified_hash)s
          RETURNING id, email, created_at
        ), {_BEGIN_SESSION}
        SELECT {user_json("account")}
        FROM account
        """,
        {
            "user_id": user_id,
            "verified_hash": verified_hash,
            "new_hash": new_hash,
            **session._asdict(),
        },
    )
    return rows[0][0] if rows else None


FIND_CREDENTIALS = """
        /* find_credentials */
        SELECT id::text, password_hash
        FROM users
        WHERE email_key = ANY(%(keys)s::text[])
        ORDER BY array_position(%(keys)s::text[], email_key)
        LIMIT 1
        """


def find_credentials(email: str) -> Row | None:
    """Return the id and the password hash of the user with this email, or None."""
    rows = components().database.query(FIND_CREDENTIALS, {"keys": keys_of_email(email)})
    return rows[0] if rows else None


def find_account(caller: Caller) -> Row | None:
    """Return the email and the password hash of a user whose session is live, or None."""
    rows = components().database.query(
        f"""
        /* find_account */
        SELECT users.email, users.password_hash
        FROM users
        JOIN sessions ON {LIVE_SESSION}
        WHERE users.id = %(user_id)s::uuid
        """,
        caller._asdict(),
    )
    return rows[0] if rows else None


def find_account_to_reset(user_id: str) -> Row | None:
    """Return the email and the password hash of a user, or None."""
    rows = components().database.query(
        """
        /* find_account_to_reset */
        SELECT email, password_hash
        FROM users
        WHERE id = %(user_id)s::uuid
        """,
        {"user_id": user_id},
    )
    return rows[0] if rows else None


def find_user(caller: Caller) -> str | None:
    """Return the JSON of a user whose session is live, or None."""
    rows = components().database.query(
        f"""
        /* find_user */
        SELECT {user_json("users")}
        FROM users
        JOIN sessions ON {LIVE_SESSION}
        WHERE users.id = %(user_id)s::uuid
        """,
        caller._asdict(),
    )
    return rows[0][0] if rows else None


def update_email(caller: Caller, email: str, verified_hash: str) -> str | None:
    """Change the email and return the user's JSON.

    Returns None if the password has just changed or the session has just ended. Raises
    `ServiceError` `email_taken`.
    """
    rows = components().database.execute(
        f"""
        /* update_email */
        UPDATE users
        SET email = %(email)s, email_key = %(email_key)s
        FROM sessions
        WHERE users.id = %(user_id)s::uuid
          AND password_hash = %(verified_hash)s
          AND {LIVE_SESSION}
        RETURNING {user_json("users")}
        """,
        {
            **caller._asdict(),
            "email": email,
            "email_key": canonical_email(email),
            "verified_hash": verified_hash,
        },
    )
    return rows[0][0] if rows else None


def update_password(
    user_id: str, verified_hash: str, new_hash: str, session_id: str | None = None
) -> bool:
    """Change the password and delete the user's sessions, except the caller's, if there is one.

    Returns False if the password has just changed or the caller's session has just ended. Three
    statements run in one transaction: the first locks the user, and the second sees the sessions of
    logins that held the lock before.
    """
    return bool(
        components().database.script(
            f"""
            /* update_password */
            UPDATE users
            SET password_hash = %(new_hash)s
            WHERE id = %(user_id)s::uuid
              AND password_hash = %(verified_hash)s
              AND (%(session_id)s::uuid IS NULL
                   OR EXISTS (SELECT 1 FROM sessions WHERE {LIVE_SESSION}));

            DELETE FROM sessions
            WHERE user_id = %(user_id)s::uuid
              AND id IS DISTINCT FROM %(session_id)s::uuid
              AND EXISTS (
                SELECT 1
                FROM users
                WHERE id = %(user_id)s::uuid
                  AND password_hash = %(new_hash)s
              );

            SELECT 1
            FROM users
            WHERE id = %(user_id)s::uuid
              AND password_hash = %(new_hash)s
            """,
            {
                "user_id": user_id,
                "verified_hash": verified_hash,
                "new_hash": new_hash,
                "session_id": session_id,
            },
        )
    )


def delete_user(caller: Caller, verified_hash: str) -> bool:
    """Delete a user and all their data.

    Returns False if the password has just changed or the session has just ended.
    """
    return bool(
        components().database.execute(
            f"""
            /* delete_user */
            DELETE FROM users
            USING sessions
            WHERE users.id = %(user_id)s::uuid
              AND password_hash = %(verified_hash)s
              AND {LIVE_SESSION}
            RETURNING users.id
            """,
            {**caller._asdict(), "verified_hash": verified_hash},
        )
    )
