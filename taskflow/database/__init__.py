"""The database: connections, statements, migrations, and PostgreSQL's errors (COM-001).

No other package talks to PostgreSQL.
"""

from taskflow.database.connection import Params, Row
from taskflow.database.statements import Database

__all__ = ["Database", "Params", "Row"]
