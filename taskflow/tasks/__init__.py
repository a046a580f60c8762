"""Tasks (COM-003)."""

from taskflow.tasks.routes import blueprint

__all__ = ["blueprint"]
