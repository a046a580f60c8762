"""The alert rules use metrics that exist, and each alert fires only for its own reason."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskflow.config import Config
from taskflow.errors import CATALOG
from tests.support.metrics import TOKEN, send_traffic
from tests.support.service import ROOT, Service, free_port, serving

RULES = ROOT / "examples/alerts.yml"
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed"
)


@pytest.fixture(scope="module")
def service(config: Config) -> Iterator[Service]:
    settings = {"WEB_CONCURRENCY": "2", "METRICS_TOKEN": "the-metrics-token"}
    with serving(config.database_url or "", **settings) as service:
        send_traffic(service)
        yield service


def test_every_metric_and_label_of_a_rule_is_exported(service: Service) -> None:
    selectors = re.findall(r"(taskflow_\w+)(?:\{(.*?)\})?", RULES.read_text())
    text = service.text("/metrics", TOKEN)
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    labels = {sample.name: set(sample.labels) for sample in samples}
    assert len(selectors) >= 5
    for name, matchers in selectors:
        assert name in labels, name
        assert set(re.findall(r"(\w+)[!=]~?", matchers)) <= labels[name], (name, matchers)
    assert set(re.findall(r'(?:code|reason)="(\w+)"', RULES.read_text())) <= set(CATALOG)


def promtool(*args: Any) -> None:
    done = subprocess.run(["promtool", *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_alert_rules_are_valid() -> None:
    promtool("check", "rules", RULES)


@needs_promtool
def test_each_alert_fires_only_for_its_reason() -> None:
    promtool("test", "rules", ROOT / "tests/process/alerts.yml")
    tested = set(re.findall(r"TaskFlow\w+", (ROOT / "tests/process/alerts.yml").read_text()))
    assert tested == set(re.findall(r"alert: (\w+)", RULES.read_text()))


class Prometheus:
    """A Prometheus server that scrapes a service and evaluates the rules, each second."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.port = free_port()
        (folder / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{RULES}]
scrape_configs:
  - job_name: taskflow
    authorization: {{credentials: the-metrics-token}}
    static_configs: [{{targets: ["127.0.0.1:{service.port}"]}}]
""")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml",
             f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, path: str, **query: str) -> Any:
        """Query the API of Prometheus, and return the data of the answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(query)}"
        with urlopen(url, timeout=5) as response:
            return json.load(response)["data"]

    def values(self, query: str) -> dict[str, str]:
        """Return the values of a query by job, or nothing while the server starts."""
        try:
            found = self.ask("query", query=query)["result"]
        except OSError:
            return {}
        return {sample["metric"].get("job", ""): sample["value"][1] for sample in found}


@pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed")
def test_prometheus_scrapes_two_workers_and_evaluates_every_rule(
    service: Service, tmp_path: Path
) -> None:
    prometheus = Prometheus(service, tmp_path)
    try:
        deadline = time.monotonic() + 60
        while prometheus.values("taskflow_tasks_created_total") != {"taskflow": "10"}:
            assert time.monotonic() < deadline, prometheus.values("up")
            time.sleep(0.2)
        while True:
            [group] = prometheus.ask("rules")["groups"]
            health = {rule["name"]: rule["health"] for rule in group["rules"]}
            if "unknown" not in health.values():  # no rule is left to evaluate
                break
            assert time.monotonic() < deadline, health
            time.sleep(0.2)
        assert set(health.values()) == {"ok"}, group
        assert len(health) == 5
        assert prometheus.values("up") == {"taskflow": "1"}
        assert {rule["state"] for rule in group["rules"]} == {"inactive"}
    finally:
        prometheus.process.terminate()
        prometheus.process.wait(10)
