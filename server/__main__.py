"""gunicorn's command, with a one-line error if WEB_CONCURRENCY is not a number of workers.

gunicorn reads that variable while it is imported, before any configuration file, so the check has
to come first.
"""

import os
import re
import sys


def main() -> None:
    """Check the variable, and run gunicorn with the arguments of the command line."""
    count = os.environ.get("WEB_CONCURRENCY")
    if count == "":
        del os.environ["WEB_CONCURRENCY"]
    elif count is not None and not re.fullmatch("[1-9][0-9]{0,2}", count):
        sys.exit("server: WEB_CONCURRENCY must be a whole number from 1 to 999")
    from gunicorn.app.wsgiapp import run

    run()


if __name__ == "__main__":
    main()
