"""Headers that every answer of the service has."""

from taskflow.config import Config

# API responses may not load resources or be framed. The docs page sets its own policy.
CONTENT_SECURITY_POLICY = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"


def constant_headers(config: Config) -> dict[str, str]:
    """Return the headers that are the same on every answer, including the docs page."""
    constant = {"X-Content-Type-Options": "nosniff"}
    if config.production:
        constant["Strict-Transport-Security"] = "max-age=31536000"
    return constant
