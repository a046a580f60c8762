"""Tasks (COM-003)."""

from taskflow.tasks import sync_routes
from taskflow.tasks.routes import blueprint

__all__ = ["blueprint", "sync_routes"]
