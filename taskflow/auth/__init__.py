"""Accounts, sessions and tokens (COM-002)."""

from taskflow.auth import tokens
from taskflow.auth.routes import blueprint

__all__ = ["blueprint", "tokens"]
