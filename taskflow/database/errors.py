"""Translation of PostgreSQL's errors to codes of the catalog."""

import psycopg2

CODE_BY_CONSTRAINT = {
    "users_email_key": "email_taken",
    "idempotency_keys_pkey": "idempotency_key_reused",
}
CODE_BY_SQLSTATE = {
    "25006": "database_unavailable",  # read_only_sql_transaction: a demoted primary
    "40001": "query_timeout",  # serialization_failure, after a retry
    "40P01": "query_timeout",  # deadlock_detected, after a retry
    "55P03": "query_timeout",  # lock_not_available: lock_timeout
    "57014": "query_timeout",  # query_canceled: statement_timeout
    "57P01": "database_unavailable",  # admin_shutdown
    "57P02": "database_unavailable",  # crash_shutdown
    "57P03": "database_unavailable",  # cannot_connect_now
    "57P05": "database_unavailable",  # idle_session_timeout
}


class UnforeseenDatabaseError(Exception):
    """A PostgreSQL error that the service should have prevented.

    PostgreSQL's DETAIL and most of its messages may quote a client's values. The error's text has
    no DETAIL, and a message only in the classes of constraints (23) and of syntax (42).
    """

    def __init__(self, error: psycopg2.Error) -> None:
        diagnosis = error.diag
        is_safe = (error.pgcode or "")[:2] in ("23", "42")
        message = diagnosis.message_primary if is_safe else type(error).__name__
        super().__init__(f"{error.pgcode} {message} {diagnosis.constraint_name or ''}".rstrip())


def code_of(error: psycopg2.Error) -> str | None:
    """Return the catalog's code for an error of psycopg2, or None if the service is at fault."""
    sqlstate = error.pgcode
    if sqlstate is None:  # libpq lost the connection, or never had one
        is_unreachable = isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))
        return "database_unavailable" if is_unreachable else None
    if sqlstate.startswith(("08", "53")):  # connection_exception, insufficient_resources
        return "database_unavailable"
    constraint = error.diag.constraint_name or ""
    return CODE_BY_CONSTRAINT.get(constraint) or CODE_BY_SQLSTATE.get(sqlstate)
