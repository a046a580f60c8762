"""Pieces of SQL that the statements of several packages share."""

# The condition that the caller's session is live. A session that has ended gives no access.
LIVE_SESSION = """sessions.id = %(session_id)s::uuid
            AND sessions.user_id = %(user_id)s::uuid
            AND sessions.expires_at > now()"""


def utc_text(column: str) -> str:
    """Return the SQL of an instant in UTC with six digits of fraction, for JSON.

    PostgreSQL's own JSON drops zeros at the end and follows the session's time zone.
    """
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""
