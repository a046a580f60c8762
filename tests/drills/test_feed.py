"""Clients that follow the feed of changes end with exactly the tasks of the database."""

import uuid
from collections.abc import Callable
from typing import Any

from tests.support.credentials import PASSWORD
from tests.support.drills import SHORT
from tests.support.feed import Feed
from tests.support.load import Client
from tests.support.mirrors import Send
from tests.support.postgres import Postgres
from tests.support.service import Service

ROUNDS = 2 if SHORT else 60
SECONDS = 5 if SHORT else 10  # of a round


def test_every_mirror_ends_equal_to_the_database(
    postgres: Postgres, serve: Callable[..., Service], figures: Any
) -> None:
    service = serve(postgres.url(), WEB_CONCURRENCY="2", RATE_LIMIT_STORAGE="memory://")
    first = Client(service.port)
    clients = [first]
    credentials = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
    _, session, _ = first("POST", "/api/v1/auth/register", credentials)

    def connect() -> Send:
        client = Client(service.port, session["accessToken"])
        clients.append(client)
        return lambda method, path, body=None: client(method, f"/api/v1{path}", body)[:2]

    feed = Feed(postgres.url(), session["user"]["id"], connect)
    differing = [feed.run_round(SECONDS) for _ in range(ROUNDS)]
    for client in clients:
        client.close()
    figures(
        rounds=ROUNDS,
        statuses=dict(feed.answers),
        commits=feed.commits,
        kills=feed.kills,
        pages=sum(mirror.pages for mirror in feed.mirrors),
        differing=sum(differing),
    )
    assert not any(differing)
    assert min(feed.answers[200], feed.commits, feed.kills) > 50
