"""The command line: `python -m taskflow COMMAND`.

Every command uses the production configuration and prints one line (`users` prints one for each
account). A command that fails prints one line on stderr and exits with code 1.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from typing import NamedTuple

from taskflow.commands.accounts import end_sessions, list_users, make_reset_token
from taskflow.commands.purge import purge
from taskflow.commands.release import release
from taskflow.config import load_config_or_exit


class Command(NamedTuple):
    """A command: its function, which returns what to print, and its help."""

    run: Callable[..., str]
    summary: str
    details: str
    takes_email: bool = False


COMMANDS = {
    "release": Command(
        release,
        "Bring the database up to date.",
        "Applies the migrations that are missing, compares the database with schema.sql, and"
        " brings stored values up to date. Run it before new code serves.",
    ),
    "purge": Command(
        purge,
        "Delete expired data.",
        "Deletes expired sessions, Idempotency-Keys that are more than a day old, and tasks that"
        " were deleted more than 30 days ago. Run it once a day.",
    ),
    "users": Command(
        list_users,
        "List the accounts.",
        "Prints a line for each account, the oldest first: email, id, creation, number of tasks"
        " and number of live sessions, separated by tabs.",
    ),
    "reset-password": Command(
        make_reset_token,
        "Print a token that resets a password.",
        "The token is the last word of the line. It works once, within an hour, with POST"
        " /api/v1/auth/password/reset, and no longer after the password has changed. Anyone who"
        " has the token can take over the account, so pass it on safely.",
        takes_email=True,
    ),
    "end-sessions": Command(
        end_sessions,
        "End all sessions of an account.",
        "All tokens of the account are refused from then on. The password stays the same.",
        takes_email=True,
    ),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m taskflow",
        description="Commands for operators. They read the same variables as the service.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = f"{command.summary} {command.details}"
        subparser = commands.add_parser(name, help=command.summary, description=description)
        if command.takes_email:
            subparser.add_argument("email", metavar="EMAIL", help="the email of the account")
    return parser


def main() -> None:
    """Run the command that the arguments name, or list the commands."""
    parser = _parser()
    options = vars(parser.parse_args())
    name = options.pop("command")
    if name is None:
        parser.print_help()
        return
    config = load_config_or_exit(production=True)
    logging.disable()  # the command prints its own line
    try:
        if answer := COMMANDS[name].run(config, **options):
            print(answer, flush=True)
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())
        sys.exit(f"taskflow: {name} failed: {reason}")
