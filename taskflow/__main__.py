"""`python -m taskflow`: see `taskflow/commands.py`."""

from taskflow.commands import main

if __name__ == "__main__":
    main()
