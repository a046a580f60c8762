"""The configuration: one frozen record, read once from the environment and checked at the start.

Nothing else reads a setting from `os.environ`. The entry point (`wsgi.py` or `app.py`) decides
whether this is production; no variable does.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

from taskflow.http.origins import is_origin

VERSION = "1.1.0"
DEVELOPMENT_SECRET = "dev-secret"  # noqa: S105 (published on purpose, refused in production)
RATE = (r"[1-9][0-9]{0,11}/(second|minute|hour|day)", "a rate such as 100/minute")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical", "warn")


class ConfigError(Exception):
    """A variable is missing or has a bad value; its text is one line that names the variable."""


class CookieNames(NamedTuple):
    """The names of the cookies of a session (RFC 6265bis, 4.1.3)."""

    access: str
    refresh: str
    csrf: str


@dataclass(frozen=True)
class Config:
    """Every setting of the service; durations are in seconds."""

    production: bool
    port: int
    database_url: str | None
    db_sslmode: str | None
    jwt_secret: str
    jwt_secret_previous: str | None
    jwt_issuer: str
    jwt_audience: str
    log_level: str
    db_pool_min: int
    db_pool_max: int
    db_pool_timeout: float
    db_statement_timeout: float
    max_tasks_per_user: int
    session_max_days: int
    rate_limit: str
    auth_rate_limit: str
    rate_limit_storage: str
    cors_origins: tuple[str, ...]
    metrics_token: str | None
    cookie_samesite: str
    trusted_proxies: int
    web_concurrency: int
    web_threads: int
    web_affinity: bool
    web_worker: str

    @property
    def cookie_names(self) -> CookieNames:
        """The names of the cookies; in production browsers enforce their prefixes."""
        if self.production:
            return CookieNames("__Host-access_token", "__Secure-refresh_token", "__Host-csrf_token")
        return CookieNames("access_token", "refresh_token", "csrf_token")

    @property
    def jwt_secrets(self) -> tuple[str, ...]:
        """The secrets that verify: the one that signs, then the previous one if there is one."""
        return tuple(secret for secret in (self.jwt_secret, self.jwt_secret_previous) if secret)


class _Environment:
    """Typed look-ups in the environment; an empty variable counts as unset.

    Every method raises `ConfigError`.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str) -> str | None:
        """Return a printable value, or None."""
        value = self._environ.get(name) or None
        if value and not value.isprintable():  # bytes that are not UTF-8 become lone surrogates
            raise ConfigError(f"{name} must be printable text")
        return value

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        """Return a whole number within bounds."""
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise ConfigError(f"{name} must be a whole number from {least} to {most}")
        return int(value)

    def seconds(self, name: str, default: float) -> float:
        """Return seconds, above 0 and up to an hour."""
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", value) or not 0 < float(value) <= 3600:
            raise ConfigError(f"{name} must be plain seconds above 0 and up to 3600, such as 0.5")
        return float(value)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Return one of the choices, which the variable may write in any case."""
        value = self.text(name) or default
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        raise ConfigError(f"{name} must be one of {', '.join(choices)}")

    def log_level(self, default: str) -> str:
        """Return LOG_LEVEL as Python's `logging` spells it."""
        level = self.choice("LOG_LEVEL", default, LOG_LEVELS)
        return "warning" if level == "warn" else level

    def matching(self, name: str, default: str, pattern: str, rule: str) -> str:
        """Return a value that matches a pattern; `rule` describes the pattern."""
        value = self.text(name) or default
        if not re.fullmatch(pattern, value):
            raise ConfigError(f"{name} must be {rule}")
        return value

    def origins(self, name: str) -> tuple[str, ...]:
        """Return the origins of a comma-separated list."""
        found = tuple(o.strip() for o in (self.text(name) or "").split(",") if o.strip())
        for origin in found:
            # Browsers send credentials only if the origin is named, and any page can be "null".
            if not is_origin(origin):
                raise ConfigError(
                    f"{name} must list origins as browsers send them, such as "
                    "https://app.example.com or capacitor://localhost"
                )
        return found

    def database_url(self, production: bool) -> str | None:
        """Return DATABASE_URL, which libpq can parse; None only in development."""
        url = self.text("DATABASE_URL")
        if url is None and production:
            raise ConfigError("DATABASE_URL must be set in production")
        if url is not None and not re.match(r"postgres(ql)?://", url):
            raise ConfigError("DATABASE_URL must be a postgresql:// URL")
        try:
            parts = parse_dsn(url or "")
        except ProgrammingError:  # the error's text may quote the password
            raise ConfigError("DATABASE_URL can't be parsed") from None
        if "@" in str(parts.get("host", "")):  # the end of the password, which would be logged
            raise ConfigError("DATABASE_URL must have its password percent-encoded")
        ports = str(parts.get("port", "")).split(",")
        if not all(re.fullmatch(r"[0-9]{0,5}", port) for port in ports):
            raise ConfigError("DATABASE_URL must have a numeric port")
        if not re.fullmatch(r"[0-9]{0,4}", str(parts.get("connect_timeout", ""))):
            raise ConfigError("DATABASE_URL must have a connect_timeout in whole seconds")
        if parts.get("sslmode", "require") not in SSL_MODES:
            raise ConfigError(f"DATABASE_URL must have a sslmode of {', '.join(SSL_MODES)}")
        return url

    def secret(self, name: str, production: bool) -> str | None:
        """Return a secret; in production it must be long enough."""
        value = self.text(name)
        if value is None or not production:
            return value
        if value == DEVELOPMENT_SECRET:
            raise ConfigError(f"{name} must not be the development secret in production")
        if len(value.encode()) < 32:  # RFC 7518 section 3.2
            raise ConfigError(f"{name} must have 32 bytes or more in production")
        return value


def load_config(production: bool, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the configuration; raises `ConfigError` for the first bad variable."""
    env = _Environment(environ)
    jwt_secret = env.secret("JWT_SECRET", production)
    if jwt_secret is None and production:
        raise ConfigError("JWT_SECRET must be set in production")
    config = Config(
        production=production,
        port=env.integer("PORT", 3000, 1, 65535),
        database_url=env.database_url(production),
        # PGSSLMODE replaces this default, and the URL's `sslmode` wins over both.
        db_sslmode="require" if production and not env.text("PGSSLMODE") else None,
        jwt_secret=jwt_secret or DEVELOPMENT_SECRET,
        jwt_secret_previous=env.secret("JWT_SECRET_PREVIOUS", production),
        jwt_issuer=env.text("JWT_ISSUER") or "taskflow",
        jwt_audience=env.text("JWT_AUDIENCE") or "taskflow-api",
        log_level=env.log_level("info" if production else "debug"),
        db_pool_min=env.integer("DB_POOL_MIN", 1, 0, 1000),
        db_pool_max=env.integer("DB_POOL_MAX", 10, 1, 1000),
        db_pool_timeout=env.seconds("DB_POOL_TIMEOUT", 5),
        db_statement_timeout=env.seconds("DB_STATEMENT_TIMEOUT", 5),
        max_tasks_per_user=env.integer("MAX_TASKS_PER_USER", 1000, 0, 10**9 - 1),
        session_max_days=env.integer("SESSION_MAX_DAYS", 90, 1, 3650),
        rate_limit=env.matching("RATE_LIMIT", "100/minute", *RATE),
        auth_rate_limit=env.matching("AUTH_RATE_LIMIT", "10/minute", *RATE),
        rate_limit_storage=env.matching(
            "RATE_LIMIT_STORAGE",
            "memory://",
            r"memory://|rediss?://[^/\s]+(/\S*)?",
            "memory:// or a redis:// URL",
        ),
        cors_origins=env.origins("CORS_ORIGINS"),
        metrics_token=env.matching("METRICS_TOKEN", "", r"[\x21-\x7e]*", "visible ASCII") or None,
        cookie_samesite=env.choice("COOKIE_SAMESITE", "Strict", ("Strict", "Lax", "None")),
        trusted_proxies=env.integer("TRUSTED_PROXIES", 1 if production else 0, 0, 100),
        # gunicorn reads this variable itself, before its configuration file.
        web_concurrency=env.integer("WEB_CONCURRENCY", 1, 1, 999),
        web_threads=env.integer("WEB_THREADS", 8, 1, 1000),
        web_affinity=env.choice("WEB_AFFINITY", "on", ("on", "off")) == "on",
        web_worker=env.choice("WEB_WORKER", "buffered", ("buffered", "gthread")),
    )
    if config.db_pool_min > config.db_pool_max:
        raise ConfigError("DB_POOL_MIN must not be above DB_POOL_MAX")
    return config


def load_config_or_exit(production: bool) -> Config:
    """Read the configuration, or end the process with one line on stderr and exit code 1."""
    try:
        return load_config(production)
    except ConfigError as error:
        sys.exit(f"taskflow: {error}")
