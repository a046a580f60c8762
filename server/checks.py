"""The check that refuses to start with gunicorn settings that the worker would not honour."""

import gunicorn
from gunicorn.config import Config

TRIED = (27, 0)  # gunicorn's version; the worker relies on internals that another may change
_NO_TLS = "TLS ends at the router"
_HTTP_1_1 = "the worker speaks HTTP/1.1"
# Settings that must keep their defaults, and why.
_UNSUPPORTED = {
    "certfile": _NO_TLS,
    "keyfile": _NO_TLS,
    "ca_certs": _NO_TLS,
    "http_protocols": _HTTP_1_1,
    "http2_cleartext": _HTTP_1_1,
    "protocol": _HTTP_1_1,
    "proxy_protocol": _HTTP_1_1,
    "accesslog": "the application logs its requests",
    "statsd_host": "the application counts its requests",
}


def find_problem(cfg: Config) -> str | None:
    """Return one line that says what prevents the start, or None if nothing does."""
    if gunicorn.version_info[:2] != TRIED:
        tried = ".".join(map(str, TRIED))
        return f"gunicorn {gunicorn.__version__} has not been tried, only {tried} has"
    defaults = Config().settings
    for name, reason in _UNSUPPORTED.items():
        if cfg.settings[name].get() != defaults[name].get():
            return f"{name} is not supported: {reason}"
    return None
