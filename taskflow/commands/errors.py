"""The error of commands."""


class CommandError(Exception):
    """A command can't do its work; its text says why."""
