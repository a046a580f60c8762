"""The SQL of sessions, one statement a function.

A session is a row until it ends; logging out and revoking delete the row. The refresh tokens of a
session are rows too, with the `jti` as the id. They form a chain in the order of `issued_at`. The
newest token has not been used yet; the others have the time of their use in `rotated_at`. A token
without a row is dead. A session's `last_used_at` is when its newest token was last handed out.
"""

from taskflow.auth.queries import user_json
from taskflow.auth.tokens import REFRESH_SECONDS
from taskflow.database import Row
from taskflow.database.sql import LIVE_SESSION, utc_text
from taskflow.http.context import Caller, components
from taskflow.ids import new_id

# Seconds in which tabs may refresh at the same time, and an answer may be lost or late.
GRACE_SECONDS = 30

# The first statement locks the session, so that the second one sees the result of other refreshes.
ROTATE = f"""
/* rotate_refresh_token */
SELECT 1
FROM sessions
WHERE id = %(session_id)s::uuid
FOR UPDATE;

WITH clock AS (
  SELECT clock_timestamp() AS now, %(grace)s * interval '1 second' AS grace
), chain AS (
  SELECT tokens.*, row_number() OVER (ORDER BY issued_at DESC) AS place,
         max(issued_at) OVER () AS newest_at,
         -- Its answer may still be on its way, or a tab may still hold it.
         COALESCE(rotated_at, last_used_at) >= now - grace AS is_fresh
  FROM clock, refresh_tokens AS tokens
  JOIN sessions ON sessions.id = tokens.session_id
  WHERE {LIVE_SESSION}
    AND sessions.created_at + %(max_days)s * interval '1 day' > now()
), presented AS (
  SELECT chain.*, place > 1 AND COALESCE(rotated_at >= now - grace, false) AS is_repeat
  FROM chain, clock
  WHERE id = %(token_id)s::uuid
    -- Version 1.0 left several unused tokens in a session.
    AND (place <= 2 OR rotated_at IS NULL OR rotated_at >= LEAST(now, newest_at) - grace)
), used AS (
  UPDATE refresh_tokens
  SET rotated_at = now
  FROM presented, chain, clock
  WHERE refresh_tokens.id = chain.id
    AND NOT is_repeat
    AND (chain.id = presented.id
         OR chain.is_fresh
            AND (chain.rotated_at IS NULL OR chain.issued_at > presented.issued_at))
), dead AS (
  DELETE FROM refresh_tokens
  USING presented, chain
  WHERE refresh_tokens.id = chain.id
    AND NOT is_repeat
    AND chain.id <> presented.id
    AND NOT chain.is_fresh
), made AS (
  INSERT INTO refresh_tokens (id, session_id, issued_at)
  SELECT %(new_id)s::uuid, session_id,
         -- Later than every other, even if the clock was set back.
         GREATEST(now, newest_at + interval '1 microsecond')
  FROM presented, clock
  WHERE NOT is_repeat
  RETURNING id
), handed_out AS (
  UPDATE sessions
  SET last_used_at = now,
      expires_at = CASE WHEN is_repeat THEN expires_at
                        ELSE LEAST(now + %(lifetime)s * interval '1 second',
                                   created_at + %(max_days)s * interval '1 day') END
  FROM presented, clock
  WHERE sessions.id = presented.session_id
)
SELECT {user_json("users")},
       COALESCE((SELECT id FROM made), (SELECT id FROM chain WHERE place = 1))::text
FROM presented
JOIN users ON users.id = %(user_id)s::uuid
"""


def rotate_refresh_token(caller: Caller, token_id: str) -> Row | None:
    """Use a refresh token and return the user's JSON and the id of the newest token.

    The use of the newest token makes its successor. A token that was used within the grace time is
    answered with the newest one. The parent of the newest token, or a token that was used within
    the grace time before the newest was made, makes a new newest token, because an answer was lost
    or late. Tokens that were made after the presented one are then dead, except those that were
    used or handed out within the grace time. These count as used now, because their answers may
    still arrive. Returns None for any other token, or after the end of the session.
    """
    rows = components().database.script(
        ROTATE,
        {
            **caller._asdict(),
            "token_id": token_id,
            "new_id": new_id(),
            "grace": GRACE_SECONDS,
            "lifetime": REFRESH_SECONDS,
            "max_days": components().config.session_max_days,
        },
    )
    return rows[0] if rows else None


def delete_session(user_id: str, session_id: str) -> None:
    """Delete a session of a user, if it exists."""
    components().database.execute(
        """
        /* delete_session */
        DELETE FROM sessions
        WHERE id = %(session_id)s::uuid
          AND user_id = %(user_id)s::uuid
        """,
        {"user_id": user_id, "session_id": session_id},
    )


def revoke_session(caller: Caller, revoked_id: str) -> bool | None:
    """Delete a session of the caller and return whether it was live.

    Returns None if the caller's own session has ended.
    """
    rows = components().database.execute(
        f"""
        /* revoke_session */
        WITH caller AS (
          SELECT id
          FROM sessions
          WHERE {LIVE_SESSION}
        ), revoked AS (
          DELETE FROM sessions
          USING caller
          WHERE sessions.id = %(revoked_id)s::uuid
            AND sessions.user_id = %(user_id)s::uuid
          RETURNING expires_at
        )
        SELECT EXISTS (SELECT 1 FROM revoked WHERE expires_at > now())
        FROM caller
        """,
        {**caller._asdict(), "revoked_id": revoked_id},
    )
    return rows[0][0] if rows else None


def list_sessions(caller: Caller) -> list[Row]:
    """Return the JSON of each live session of a user, newest first.

    Returns no row if the caller's session has ended.
    """
    return components().database.query(
        f"""
        /* list_sessions */
        SELECT row_to_json(s)::text
        FROM (
          SELECT id, {utc_text("created_at")} AS "createdAt",
                 {utc_text("last_used_at")} AS "lastUsedAt",
                 {utc_text("expires_at")} AS "expiresAt", user_agent AS "userAgent",
                 ip_address AS "ipAddress", id = %(session_id)s::uuid AS current
          FROM sessions
          WHERE user_id = %(user_id)s::uuid
            AND expires_at > now()
            AND EXISTS (SELECT 1 FROM sessions WHERE {LIVE_SESSION})
          ORDER BY created_at DESC, id DESC
        ) AS s
        """,
        caller._asdict(),
    )
