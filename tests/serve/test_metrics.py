"""What is counted for whom, and that nothing counted stays for ever."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from serve.exchange import Exchange
from serve.metrics import Metrics
from tests.serve.live import Live

ALPHA, BETA = "alpha@0123456789ab", "beta@0123456789ab"
CHAT = "/v1/chat/completions"


def done(version: str | None = ALPHA, status: int = 200, **fields: Any) -> Exchange:
    """A finished chat request, asked by alias."""
    exchange = Exchange("POST", CHAT, "id", alias="prod", version=version, status=status)
    exchange.complete, exchange.duration_s, exchange.first_byte_s = True, 0.3, 0.02
    for name, value in fields.items():
        setattr(exchange, name, value)
    return exchange


def samples(metrics: Metrics, beneath: bytes = b"") -> dict[str, dict[tuple[str, ...], float]]:
    """Sample name → label values in the order of their names → value; read as Prometheus reads."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.render(beneath, 3).decode()):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            assert labels not in found.get(sample.name, {}), f"{sample.name}{labels} twice"
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.loaded(ALPHA, 0.2)
    return metrics


def test_requests_tokens_and_times_are_counted_by_alias_and_version(metrics: Metrics) -> None:
    metrics.observe(done(n_prompt_tokens=7, n_completion_tokens=5))
    metrics.observe(done(alias=None, version="pocket"))
    found = samples(metrics)
    assert found["harness_requests_total"] == {
        ("prod", CHAT, "200", ALPHA): 1,
        ("", CHAT, "200", "pocket"): 1,
    }
    assert found["harness_tokens_total"] == {
        ("prod", "prompt", ALPHA): 7,
        ("prod", "completion", ALPHA): 5,
    }
    assert found["harness_request_seconds_sum"]["prod", CHAT, ALPHA] == 0.3
    assert found["harness_first_byte_seconds_sum"]["prod", CHAT, ALPHA] == 0.02
    assert found["harness_request_seconds_bucket"]["prod", "0.25", CHAT, ALPHA] == 0
    assert found["harness_request_seconds_bucket"]["prod", "0.5", CHAT, ALPHA] == 1
    assert found["harness_requests_in_flight"] == {(): 3}


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"status": 500}, "500", "engine"),
        ({"status": 503}, "503", "unavailable"),
        ({"status": None, "complete": False, "left": True}, "499", "client_left"),
        ({"status": 200, "complete": False, "left": True}, "499", "client_left"),
        ({"status": 200, "complete": False}, "500", "engine"),
        ({"status": 400}, "400", None),
    ],
)
def test_errors_say_whose_fault_it_was_and_have_no_latency(
    metrics: Metrics, fields: dict[str, Any], status: str, reason: str | None
) -> None:
    metrics.observe(done(**fields))
    found = samples(metrics)
    assert found["harness_requests_total"] == {("prod", CHAT, status, ALPHA): 1}
    expected = {("prod", reason, CHAT, ALPHA): 1} if reason else {}
    assert found.get("harness_errors_total", {}) == expected
    assert "harness_request_seconds_count" not in found


def test_names_that_are_served_by_nothing_share_one_series(metrics: Metrics) -> None:
    before = len(metrics.render())
    for index in range(1000):
        unknown = done(None, 404, asked=f"no-{index}", alias=None, path=f"/no/{index}")
        metrics.observe(unknown)
        metrics.observe(done(f"broken@{index:012x}", 503, alias=None))
    found = samples(metrics)
    assert found["harness_requests_total"] == {("", "", "404", ""): 1000, ("", "", "503", ""): 1000}
    assert len(metrics.render()) < before + 1000


def test_an_alias_whose_version_is_refused_is_named(metrics: Metrics) -> None:
    metrics.observe(done("broken@000000000000", 503, alias="prod"))
    assert samples(metrics)["harness_errors_total"] == {("prod", "unavailable", "", ""): 1}


def test_an_evicted_version_leaves_nothing_behind(metrics: Metrics) -> None:
    empty = Metrics()
    empty.loaded(ALPHA, 0.2)
    assert samples(empty)["harness_resident_versions"] == {(): 1}
    for index in range(10_000):
        version = f"v@{index:012x}"
        metrics.loaded(version, 0.2)
        for status in (200, 500):
            metrics.observe(done(version, status, n_prompt_tokens=1, n_completion_tokens=1))
        metrics.evicted(version)
    found = samples(metrics)
    assert found["harness_loads_total"] == {("loaded",): 10_001}
    assert found["harness_load_seconds_count"] == {(): 10_001}
    assert found["harness_evictions_total"] == {(): 10_000}
    assert found["harness_resident"] == {(ALPHA,): 1}
    assert found["harness_resident_versions"] == {(): 1}
    assert sum(map(len, found.values())) == sum(map(len, samples(empty).values()))


def test_refused_loads_are_counted(metrics: Metrics) -> None:
    metrics.refused(BETA)
    assert samples(metrics)["harness_loads_total"] == {("loaded",): 1, ("refused",): 1}


def test_health_checks_are_not_counted(metrics: Metrics) -> None:
    metrics.observe(Exchange("GET", "/health", "id", status=200, complete=True))
    assert "harness_requests_total" not in samples(metrics)


def test_hostile_names_cannot_forge_a_series(metrics: Metrics) -> None:
    metrics.observe(done(alias='a"} 1\nforged{x="', version=ALPHA))
    found = samples(metrics)
    assert "forged" not in found
    assert len(found["harness_requests_total"]) == 1


def test_ours_and_the_engines_are_one_valid_exposition(metrics: Metrics) -> None:
    registry = CollectorRegistry()
    Gauge("vllm:running", "The engine's.", ("model",), registry=registry).labels("p").set(2)
    metrics.observe(done())
    found = samples(metrics, generate_latest(registry))
    assert found["vllm:running"] == {("p",): 2}
    assert found["harness_requests_total"] == {("prod", CHAT, "200", ALPHA): 1}


@pytest.mark.vllm
def test_a_live_server_shows_its_own_and_vllms(live: Live) -> None:
    body = {"model": live.versions[0], "prompt": [10] * 20, "max_tokens": 4, "ignore_eos": True}
    with live.client() as client:
        assert client.post("/v1/completions", json=body).status_code == 200
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["vllm:prompt_tokens"].samples
    counted = {
        sample.labels["kind"]: sample.value
        for sample in families["harness_tokens"].samples
        if sample.name == "harness_tokens_total" and sample.labels["version"] == live.versions[0]
    }
    assert counted["prompt"] >= 20
    assert counted["completion"] >= 4
    (in_flight,) = families["harness_requests_in_flight"].samples
    assert in_flight.value == 0
