"""A gunicorn worker whose threads never wait for a client; see README.md beside this file.

The package knows nothing of the application: gunicorn's configuration file passes `Settings` to
`worker_class`, and gives the class that it returns to gunicorn.
"""

from server.settings import Lane, Settings
from server.worker import Logger, Worker

__all__ = ["Lane", "Logger", "Settings", "Worker", "worker_class"]


def worker_class(settings: Settings) -> type[Worker]:
    """Return the worker with an application's settings, for gunicorn's `worker_class`."""
    return type("BufferedWorker", (Worker,), {"settings": settings})
