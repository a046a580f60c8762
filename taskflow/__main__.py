"""The commands beside serving: `python -m taskflow release` and `python -m taskflow purge`.

Both are production, and end with code 1 and one line on stderr where they can't do their work.
"""

import logging
import sys

from taskflow.config import Config, load_config_or_exit
from taskflow.maintenance import apply_schema, purge


def _release(config: Config) -> str:
    apply_schema(config)
    return "the schema is in place"


def _purge(config: Config) -> str:
    sessions, keys = purge(config)
    return f"purged {sessions} sessions and {keys} idempotency keys"


COMMANDS = {"release": _release, "purge": _purge}


def main() -> None:
    """Run the command that the arguments name."""
    command = COMMANDS.get(" ".join(sys.argv[1:]))
    if command is None:
        sys.exit(f"usage: python -m taskflow {'|'.join(COMMANDS)}")
    config = load_config_or_exit(production=True)
    logging.disable()  # one line is enough
    try:
        print(f"taskflow: {command(config)}")
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())
        sys.exit(f"taskflow: {sys.argv[1]} failed: {reason}")


if __name__ == "__main__":
    main()
