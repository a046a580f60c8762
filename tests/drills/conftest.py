"""What the drills share: a server and a service of their own, and a line of figures each."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.load import Findings, Record
from tests.support.postgres import Postgres
from tests.support.service import Service

FIGURES = "figures"


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that the drill may break."""
    server = Postgres()
    try:
        yield server.create()
    finally:
        server.remove()


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """Start the web process of the Procfile; it is ended after the drill."""
    services: list[Service] = []

    def start(url: str, **settings: str) -> Service:
        services.append(Service(url, **{"LOG_LEVEL": "critical", **settings}))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Any:
    """Print a drill's figures at its end, whatever becomes of it."""

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
    """Prints the figures of every drill, of those that run in other processes too."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print them once, with what came of the drill itself."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.when != "call" or terminal is None:  # no terminal: not the first process
            return
        name = report.nodeid.rpartition("::test_")[2].replace("_", " ")
        for key, parts in report.user_properties:
            if key == FIGURES:
                terminal.write(
                    "".join([f"\n{name}:", *(f"\n    {k}={v}" for k, v in parts.items())])
                )


def pytest_configure(config: pytest.Config) -> None:
    """Have the figures printed."""
    config.pluginmanager.register(Printer(config))
