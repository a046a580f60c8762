"""Fixtures of the drills: a PostgreSQL server, the service, and a report of figures."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.load import Findings, Record
from tests.support.postgres import Postgres
from tests.support.service import Service
from tests.support.standby import follow

FIGURES = "figures"


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """Return a PostgreSQL server that the drill may break."""
    server = Postgres()
    try:
        yield server.create()
    finally:
        server.remove()


@pytest.fixture
def standby(postgres: Postgres) -> Iterator[Postgres]:
    """Return a synchronous standby of the drill's server."""
    server = Postgres()
    try:
        follow(server, postgres)
        yield server
    finally:
        server.remove()


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """Return a function that starts the web process, and stop it after the drill."""
    services: list[Service] = []

    def start(url: str, **settings: str) -> Service:
        services.append(Service(url, **{"LOG_LEVEL": "critical", **settings}))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Any:
    """Return a function that records the figures of the drill, to print them at its end."""

    def show(record: Record | None = None, findings: Findings | None = None, **more: Any) -> None:
        parts: dict[str, Any] = {}
        if record:
            parts |= {
                "requests": len(record.answers),
                "statuses": dict(record.statuses()),
                "errors": dict(record.codes()),
                "longest": f"{record.longest():.2f} s",
            }
        if findings:
            parts |= vars(findings)
        parts |= {k: f"{v:.2f} s" if isinstance(v, float) else v for k, v in more.items()}
        request.node.user_properties.append((FIGURES, {k: str(v) for k, v in parts.items()}))

    return show


class Printer:
    """A plugin that prints the figures of every drill, including drills in other processes."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the figures of a drill once, with its result."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.when != "call" or terminal is None:  # other processes have no terminal
            return
        name = report.nodeid.rpartition("::test_")[2].replace("_", " ")
        for key, parts in report.user_properties:
            if key == FIGURES:
                terminal.write(
                    "".join([f"\n{name}:", *(f"\n    {k}={v}" for k, v in parts.items())])
                )


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin that prints the figures."""
    config.pluginmanager.register(Printer(config))
