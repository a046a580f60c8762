"""What an operator runs: `python -m taskflow COMMAND`; `cli.py` lists the commands."""
