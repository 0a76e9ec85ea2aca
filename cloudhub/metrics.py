"""What Prometheus is told about the hub; the one importer of ``prometheus_client``.

Counters are bumped where things happen; what describes the fleet is computed when somebody asks,
from ``fleet`` and ``nodes``. Labels have few values: node names only for the first
``MOST_NODES`` nodes, those out of step before the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

MOST_NODES = 200
LAGS = (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600)


@dataclass(frozen=True, slots=True)
class NodeSync:
    """How far one node is: objects it should have, and how many of them it said to have."""

    node: str
    online: bool
    desired: int
    in_sync: int


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter(
            "api_requests", "Requests to the API server", "verb", "resource", "code"
        )
        self._publishes = self._counter("publishes", "Messages published, by kind", "kind")
        self._bytes = self._counter("published_bytes", "Payload bytes published", "kind")
        self._rejected = self._counter("rejected_messages", "Messages not understood", "reason")
        self._tokens = self._counter("tokens", "Tokens that devices asked for", "outcome")
        self._connects = self._counter("broker_connects", "Connections to the broker")
        self._connected = Gauge(
            "kubetide_hub_broker_connected", "1 while connected", registry=self.registry
        )
        self._overflows = self._counter(
            "broker_overflows", "Times the broker may have dropped messages for this hub"
        )
        self._lag = Histogram(
            *("kubetide_hub_sync_lag_seconds", "From a change in the API to its node having it"),
            buckets=LAGS,
            registry=self.registry,
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"kubetide_hub_{name}", text, labels, registry=self.registry)

    def requested(self, verb: str, resource: str, code: str) -> None:
        self._requests.labels(verb, resource, code).inc()

    def published(self, kind: str, size: int) -> None:
        """``kind``: body, inventory, change, clear, session, hub, answer, question."""
        self._publishes.labels(kind).inc()
        self._bytes.labels(kind).inc(size)

    def rejected(self, reason: str) -> None:
        """``reason`` of a WireError: one of a few words."""
        self._rejected.labels(reason).inc()

    def token(self, outcome: str) -> None:
        """``outcome``: issued, refused (never), failed (perhaps later)."""
        self._tokens.labels(outcome).inc()

    def connected(self, up: bool) -> None:
        self._connected.set(up)
        if up:
            self._connects.inc()

    def overflowed(self) -> None:
        """All slots are read again."""
        self._overflows.inc()

    def lagged(self, seconds: float) -> None:
        self._lag.observe(max(seconds, 0.0))

    def observe_fleet(self, fleet: Callable[[], Iterable[NodeSync]]) -> None:
        """From now on ``fleet()`` is asked at each scrape."""
        self.registry.register(_Fleet(fleet))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Fleet(Collector):
    def __init__(self, fleet: Callable[[], Iterable[NodeSync]]) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[GaugeMetricFamily]:
        nodes = list(self._fleet())
        yield _total("nodes_known", "Nodes of this replica", len(nodes))
        yield _total("nodes_online", "Of these, connected", sum(n.online for n in nodes))
        yield _total("objects_desired", "Objects they should have", sum(n.desired for n in nodes))
        yield _total("objects_in_sync", "Of these, in place", sum(n.in_sync for n in nodes))
        shown = sorted(nodes, key=lambda n: (n.desired == n.in_sync, n.node))[:MOST_NODES]
        desired = _per_node("node_objects_desired", "Objects a node should have")
        in_sync = _per_node("node_objects_in_sync", "Of these, in place")
        for node in shown:
            desired.add_metric([node.node], node.desired)
            in_sync.add_metric([node.node], node.in_sync)
        yield desired
        yield in_sync


def _total(name: str, text: str, value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"kubetide_hub_{name}", text, value=value)


def _per_node(name: str, text: str) -> GaugeMetricFamily:
    text = f"{text}; at most {MOST_NODES} nodes, those out of step first"
    return GaugeMetricFamily(f"kubetide_hub_{name}", text, labels=["node"])
