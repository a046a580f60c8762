"""What the drills share: a server and a service of their own, and a line of figures each."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.drills.load import Findings, Record
from tests.drills.postgres import Postgres
from tests.service import Service

# A short run is what CI has time for; the promises are the same.
SHORT = os.environ.get("DRILLS") == "short"


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
def figures(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Any:
    """Print a drill's figures, whatever becomes of it."""

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
        with capsys.disabled():
            name = request.node.name.removeprefix("test_").replace("_", " ")
            print(f"\n{name}:", *(f"{k}={v}" for k, v in parts.items()), sep="\n    ")

    return show
