"""Prometheus metrics per alias and version, for administrators.

Every series of a version goes when the version leaves the engine, so that memory stays flat over
any number of versions; whatever reached no version in the engine (an unknown name, a refused
load, a list of models) shares the series with an empty `version`. Aliases come from the alias file
alone, and stay: an alias whose version is refused is what an operator wants to hear of. Counters of
a version therefore start again when it comes back, as after a restart; what must never be lost is
in the access log. Knows nothing of HTTP.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from harness.store import VERSION
from serve.exchange import CLIENT_LEFT, Exchange

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_WHO = ("alias", "version", "route")


class Metrics:
    """Counters of one server process. Only the thread of the event loop may use them."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._resident: set[str] = set()
        self._requests = Counter(
            "harness_requests", "Requests answered.", (*_WHO, "status"), registry=registry
        )
        self._errors = Counter(
            "harness_errors",
            "Requests without their answer: the client left, or the server failed or was not able.",
            (*_WHO, "reason"),
            registry=registry,
        )
        self._tokens = Counter(
            "harness_tokens",
            "Tokens read and written.",
            ("alias", "version", "kind"),
            registry=registry,
        )
        self._seconds = Histogram(
            "harness_request_seconds",
            "From a request to the end of a good answer.",
            _WHO,
            buckets=_SECONDS,
            registry=registry,
        )
        self._first_byte = Histogram(
            "harness_first_byte_seconds",
            "From a request to the first byte of a good answer.",
            _WHO,
            buckets=_SECONDS,
            registry=registry,
        )
        self._of_versions = (
            self._requests,
            self._errors,
            self._tokens,
            self._seconds,
            self._first_byte,
        )
        self._engine_metrics(registry)

    def _engine_metrics(self, registry: CollectorRegistry) -> None:
        self._loads = Counter(
            "harness_loads",
            "Versions brought into the engine, or refused.",
            ("result",),
            registry=registry,
        )
        self._load_seconds = Histogram(
            "harness_load_seconds",
            "From the first check of a version to its use.",
            registry=registry,
        )
        self._evictions = Counter(
            "harness_evictions", "Versions taken out of the engine to make room.", registry=registry
        )
        self._n_resident = Gauge(
            "harness_resident_versions", "Versions in the engine.", registry=registry
        )
        self._is_resident = Gauge(
            "harness_resident", "1 for a version in the engine.", ("version",), registry=registry
        )
        self._in_flight = Gauge(
            "harness_requests_in_flight",
            "Requests that have no full answer yet.",
            registry=registry,
        )

    def observe(self, exchange: Exchange) -> None:
        """Count a finished request; health checks are none."""
        if exchange.is_health_check:
            return
        version, route = exchange.version or "", exchange.path
        if not version or (version not in self._resident and VERSION.fullmatch(version)):
            version = route = ""  # a path is whatever a client wrote, unless it led to a version
        who = (exchange.alias or "", version, route)
        status = exchange.outcome
        self._requests.labels(*who, str(status)).inc()
        if reason := _reason(status):
            self._errors.labels(*who, reason).inc()
        if exchange.n_prompt_tokens:
            self._tokens.labels(*who[:2], "prompt").inc(exchange.n_prompt_tokens)
        if exchange.n_completion_tokens:
            self._tokens.labels(*who[:2], "completion").inc(exchange.n_completion_tokens)
        if version and status < 400:
            self._seconds.labels(*who).observe(exchange.duration_s or 0.0)
            self._first_byte.labels(*who).observe(exchange.first_byte_s or 0.0)

    def loaded(self, version: str, seconds: float) -> None:
        """Count a load into the engine."""
        self._loads.labels("loaded").inc()
        self._load_seconds.observe(seconds)
        self._resident.add(version)
        self._is_resident.labels(version).set(1)
        self._n_resident.set(len(self._resident))

    def evicted(self, version: str) -> None:
        """Count an eviction and drop the version's series."""
        self._evictions.inc()
        self._resident.discard(version)
        self._n_resident.set(len(self._resident))
        for metric in (*self._of_versions, self._is_resident):
            metric.remove_by_labels({"version": version})

    def refused(self, version: str) -> None:
        """Count a version that could not be loaded."""
        self._loads.labels("refused").inc()

    def render(self, beneath: bytes = b"", n_running: int = 0) -> bytes:
        """The exposition format (text, version 0.0.4): ours, then `beneath`, vLLM's own answer to
        GET /metrics (empty unless its status was 200). `n_running`: of Drain."""
        self._in_flight.set(n_running)
        return generate_latest(self._registry) + beneath


def _reason(status: int) -> str | None:
    """What kept a request from its answer, where that is not the request itself."""
    if status == CLIENT_LEFT:
        return "client_left"
    if status == 503:
        return "unavailable"
    return "engine" if status >= 500 else None
