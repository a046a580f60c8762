"""The SQL of accounts and sessions, one statement a function.

A session is a row until it ends; logging out and revoking delete it. A refresh token is a row with
its `jti` as the id. An unused token has no `rotated_at`, and a used one is deleted half a minute
after its use.
"""

from taskflow.auth.tokens import REFRESH_SECONDS
from taskflow.database import Row
from taskflow.http.context import components

# A used refresh token stays valid so long, for tabs that refresh at once and for lost answers.
GRACE_SECONDS = 30


def _user_json(source: str) -> str:
    """Return the SQL of a user's JSON; `source` has the columns of `users`."""
    return f"""
    (SELECT row_to_json(u)::text
     FROM (SELECT {source}.id, {source}.email, {source}.created_at AS "createdAt") AS u)
    """


# Begins a session for the row of a CTE `account`, which has an `id`.
_BEGIN_SESSION = """
session AS (
  INSERT INTO sessions (user_id, expires_at, user_agent, ip_address)
  SELECT id, now() + %(lifetime)s * interval '1 second', %(user_agent)s, %(ip_address)s
  FROM account
  RETURNING id
), token AS (
  INSERT INTO refresh_tokens (session_id)
  SELECT id
  FROM session
  RETURNING id
)
"""


def insert_user(
    email: str, email_key: str, password_hash: str, user_agent: str | None, ip_address: str | None
) -> Row:
    """Insert a user with a first session.

    Returns the user's id and JSON, the session's id and the refresh token's id. Raises
    `ServiceError` `email_taken`.
    """
    [row] = components().database.execute(
        f"""
        /* insert_user */
        WITH account AS (
          INSERT INTO users (email, email_key, password_hash)
          VALUES (%(email)s, %(email_key)s, %(password_hash)s)
          RETURNING id, email, created_at
        ), {_BEGIN_SESSION}
        SELECT account.id::text, {_user_json("account")}, session.id::text, token.id::text
        FROM account, session, token
        """,
        {
            "email": email,
            "email_key": email_key,
            "password_hash": password_hash,
            "lifetime": REFRESH_SECONDS,
            "user_agent": user_agent,
            "ip_address": ip_address,
        },
    )
    return row


def find_credentials(email_key: str) -> Row | None:
    """Return the id and the password hash of the user with this email, or None."""
    rows = components().database.query(
        """
        /* find_credentials */
        SELECT id::text, password_hash
        FROM users
        WHERE email_key = %(email_key)s
        """,
        {"email_key": email_key},
    )
    return rows[0] if rows else None


def find_password_hash(user_id: str, session_id: str) -> str | None:
    """Return the password hash of a user whose session is live, or None."""
    rows = components().database.query(
        """
        /* find_password_hash */
        SELECT users.password_hash
        FROM users
        JOIN sessions ON sessions.user_id = users.id
        WHERE users.id = %(user_id)s::uuid
          AND sessions.id = %(session_id)s::uuid
          AND sessions.expires_at > now()
        """,
        {"user_id": user_id, "session_id": session_id},
    )
    return rows[0][0] if rows else None


def insert_session(
    user_id: str,
    verified_hash: str,
    new_hash: str,
    user_agent: str | None,
    ip_address: str | None,
) -> Row | None:
    """Insert a session, unless the password changed since it was verified.

    The lock on the user makes a login and a password change happen one after the other. Returns
    the user's JSON, the session's id and the refresh token's id, or None.
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
        SELECT {_user_json("account")}, session.id::text, token.id::text
        FROM account, session, token
        """,
        {
            "user_id": user_id,
            "verified_hash": verified_hash,
            "new_hash": new_hash,
            "lifetime": REFRESH_SECONDS,
            "user_agent": user_agent,
            "ip_address": ip_address,
        },
    )
    return rows[0] if rows else None


def rotate_refresh_token(session_id: str, token_id: str) -> Row | None:
    """Mark a refresh token as used and insert its successor.

    Returns the user's JSON and the new token's id, or None if the session has ended or the token
    was used more than `GRACE_SECONDS` ago. Each refresh within that time gets a token of its own,
    so that whichever the client keeps is unused. The session is locked first, as it is where a
    session ends, so that the two can't deadlock.
    """
    rows = components().database.execute(
        f"""
        /* rotate_refresh_token */
        WITH session AS (
          SELECT id, user_id
          FROM sessions
          WHERE id = %(session_id)s::uuid
            AND expires_at > now()
          FOR UPDATE
        ), used AS (
          UPDATE refresh_tokens
          SET rotated_at = COALESCE(rotated_at, now())
          FROM session
          WHERE refresh_tokens.id = %(token_id)s::uuid
            AND refresh_tokens.session_id = session.id
            AND (rotated_at IS NULL OR rotated_at > now() - %(grace)s * interval '1 second')
          RETURNING session_id
        ), touched AS (
          UPDATE sessions
          SET last_used_at = now(), expires_at = now() + %(lifetime)s * interval '1 second'
          FROM used
          WHERE sessions.id = used.session_id
        ), stale AS (
          DELETE FROM refresh_tokens
          USING used
          WHERE refresh_tokens.session_id = used.session_id
            AND refresh_tokens.id <> %(token_id)s::uuid
            AND (rotated_at <= now() - %(grace)s * interval '1 second'
                 OR issued_at <= now() - %(lifetime)s * interval '1 second')
        ), token AS (
          INSERT INTO refresh_tokens (session_id)
          SELECT session_id
          FROM used
          RETURNING id
        )
        SELECT {_user_json("users")}, token.id::text
        FROM token, session
        JOIN users ON users.id = session.user_id
        """,
        {
            "session_id": session_id,
            "token_id": token_id,
            "grace": GRACE_SECONDS,
            "lifetime": REFRESH_SECONDS,
        },
    )
    return rows[0] if rows else None


def delete_session(user_id: str, session_id: str) -> bool:
    """Delete a session of a user; return whether there was a live one."""
    rows = components().database.execute(
        """
        /* delete_session */
        DELETE FROM sessions
        WHERE id = %(session_id)s::uuid
          AND user_id = %(user_id)s::uuid
        RETURNING expires_at > now()
        """,
        {"user_id": user_id, "session_id": session_id},
    )
    return bool(rows and rows[0][0])


def find_user(user_id: str, session_id: str) -> str | None:
    """Return the JSON of a user whose session is live, or None."""
    rows = components().database.query(
        f"""
        /* find_user */
        SELECT {_user_json("users")}
        FROM users
        JOIN sessions ON sessions.user_id = users.id
        WHERE users.id = %(user_id)s::uuid
          AND sessions.id = %(session_id)s::uuid
          AND sessions.expires_at > now()
        """,
        {"user_id": user_id, "session_id": session_id},
    )
    return rows[0][0] if rows else None


def list_sessions(user_id: str, session_id: str) -> list[Row]:
    """Return each live session of a user, newest first: its JSON, and whether it is this one."""
    return components().database.query(
        """
        /* list_sessions */
        SELECT row_to_json(s)::text, s.current
        FROM (
          SELECT id, created_at AS "createdAt", last_used_at AS "lastUsedAt",
                 expires_at AS "expiresAt", user_agent AS "userAgent",
                 ip_address AS "ipAddress", id = %(session_id)s::uuid AS current
          FROM sessions
          WHERE user_id = %(user_id)s::uuid
            AND expires_at > now()
          ORDER BY created_at DESC, id DESC
        ) AS s
        """,
        {"user_id": user_id, "session_id": session_id},
    )


def update_password(user_id: str, session_id: str, verified_hash: str, new_hash: str) -> bool:
    """Change the password and delete every other session of the user.

    Returns False if the password changed since it was verified. Three statements run in one
    transaction: the first locks the user, and the second sees the sessions of logins that held
    the lock before.
    """
    return bool(
        components().database.execute(
            """
            /* update_password */
            UPDATE users
            SET password_hash = %(new_hash)s
            WHERE id = %(user_id)s::uuid
              AND password_hash = %(verified_hash)s;

            DELETE FROM sessions
            WHERE user_id = %(user_id)s::uuid
              AND id <> %(session_id)s::uuid
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
                "session_id": session_id,
                "verified_hash": verified_hash,
                "new_hash": new_hash,
            },
        )
    )


def delete_user(user_id: str, verified_hash: str) -> bool:
    """Delete a user with all that it owns, unless its password changed since it was verified."""
    return bool(
        components().database.execute(
            """
            /* delete_user */
            DELETE FROM users
            WHERE id = %(user_id)s::uuid
              AND password_hash = %(verified_hash)s
            RETURNING id
            """,
            {"user_id": user_id, "verified_hash": verified_hash},
        )
    )
