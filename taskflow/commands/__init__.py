"""Commands for operators: `python -m taskflow COMMAND`. `cli.py` lists them."""
