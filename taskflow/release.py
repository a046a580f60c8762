"""The release command, `python -m taskflow.release`: applies schema.sql.

Safe at any time and twice at once: the file is one transaction under one lock, which makes what
is missing. What can't be applied is left as it was, and said in one line.
"""

import logging
import sys
from dataclasses import replace
from pathlib import Path

from taskflow.config import Config, load_config_or_exit
from taskflow.db import Database

SCHEMA = Path(__file__).parent.parent / "schema.sql"
TIMEOUT = 300  # seconds: an index over millions of rows, or another release that goes first


def apply_schema(config: Config) -> None:
    """Bring the database up to schema.sql; raises what PostgreSQL or the connection raises."""
    Database(replace(config, db_statement_timeout=TIMEOUT)).execute(SCHEMA.read_text(), {})


def main() -> None:
    """Apply the schema, or exit with code 1 and one line on stderr."""
    config = load_config_or_exit(production=True)
    logging.disable()  # one line is enough
    try:
        apply_schema(config)
    except Exception as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        sys.exit(f"taskflow: the schema was not applied: {reason}")
    print("taskflow: the schema is in place")


if __name__ == "__main__":
    main()
