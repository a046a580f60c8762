"""The metrics are summed over the workers, have few series, and are protected by a token."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from taskflow.config import Config
from tests.support.assertions import assert_error
from tests.support.credentials import PASSWORD
from tests.support.metrics import TOKEN, send_traffic
from tests.support.service import Service, serving


def scrape(text: str) -> dict[tuple[str, ...], float]:
    """Return the samples by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_not_found_unless_a_token_is_configured(app: Flask) -> None:
    assert_error(app.test_client().get("/metrics"), 404, "not_found")
    assert_error(app.test_client().get("/metrics", headers=TOKEN), 404, "not_found")


def test_metrics_need_their_own_bearer_token(app_with: Callable[..., Flask]) -> None:
    client = app_with(metrics_token="the-metrics-token").test_client()
    assert_error(client.get("/metrics"), 401, "auth_missing")
    wrong = {"Authorization": "Bearer the-wrong-token"}
    assert_error(client.get("/metrics", headers=wrong), 401, "auth_invalid")
    response = client.get("/metrics", headers=TOKEN)
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=")


@pytest.fixture
def service(config: Config) -> Any:
    settings = {"WEB_CONCURRENCY": "2", "METRICS_TOKEN": "the-metrics-token"}
    with serving(config.database_url or "", **settings) as service:
        yield service


def test_metrics_are_summed_over_workers_and_restarts(service: Service) -> None:
    samples = scrape(send_traffic(service))
    requests = "taskflow_http_requests_total"
    assert samples[requests, "POST", "/api/v1/tasks", "201"] == 20
    assert samples[requests, "GET", "/api/v1/tasks/<task_id>", "200"] == 20
    assert samples[requests, "GET", "none", "404"] == 5
    assert samples[requests, "other", "none", "405"] == 5
    assert samples["taskflow_tasks_created_total",] == 10
    assert samples["taskflow_auth_failures_total", "auth_missing"] == 5
    assert samples["taskflow_errors_total", "auth_invalid"] == 5
    count = "taskflow_http_request_duration_seconds_count"
    assert samples[count, "POST", "/api/v1/tasks"] == 20
    assert samples["taskflow_db_pool_acquire_seconds_count",] >= 40
    assert samples["taskflow_db_pool_size",] == samples["taskflow_db_pool_idle",] >= 1
    assert samples["taskflow_db_pool_waiting",] == 0
    # The counters of a killed worker remain, and its connections no longer count.
    service.kill_a_worker()
    again = scrape(service.text("/metrics", TOKEN))
    assert again[requests, "POST", "/api/v1/tasks", "201"] == 20
    assert again["taskflow_db_pool_size",] <= samples["taskflow_db_pool_size",]


def test_each_task_of_a_batch_counts_once_as_created(service: Service) -> None:
    body = {"email": "batch@example.com", "password": PASSWORD}
    _, session, _ = service.request("POST", "/api/v1/auth/register", body)
    headers = {"Authorization": f"Bearer {session['accessToken']}", "Idempotency-Key": "key"}
    batch = {"create": [{"title": "x"}] * 3}
    for _ in range(2):  # the second is a repeat
        assert service.request("POST", "/api/v1/tasks/batch", batch, headers)[0] == 200
    samples = scrape(service.text("/metrics", TOKEN))
    assert samples["taskflow_tasks_created_total",] == 3


def test_ids_create_no_series(service: Service) -> None:
    text = send_traffic(service)
    assert "metrics@example.com" not in text
    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(series) < 400
