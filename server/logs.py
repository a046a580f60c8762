"""gunicorn's logger without its access log."""

from gunicorn import glogging


class Logger(glogging.Logger):
    """gunicorn's logger, which writes an access log only if one is asked for."""

    @property
    def access_log_enabled(self) -> bool:
        """Whether gunicorn logs requests; by its own rule any `logconfig_dict` enables that too."""
        return bool(self.cfg.accesslog)
