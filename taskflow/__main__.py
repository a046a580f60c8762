"""`python -m taskflow`: see `taskflow/commands/`."""

from taskflow.commands.cli import main

if __name__ == "__main__":
    main()
