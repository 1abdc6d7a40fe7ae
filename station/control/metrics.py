"""What Prometheus is told: the workers' counters, the mirrors, the peers, the storage.

The workers count by plain names, for they import no library for it; here a name becomes a family with labels.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# (names of a worker's counters, family, label that the name's varying parts become)
_FAMILIES = (
    (r"requests_(\w+)_(\d{3})", "station_requests", "Answers by port and status.", ("listener", "status")),
    (r"proxy_status_(\d{3})", "station_proxy_requests", "Answers of the proxy by status.", ("status",)),
    (r"proxy_bytes_(up|down)", "station_proxy_bytes", "Bytes through tunnels that ended.", ("direction",)),
    (r"bytes_(\w+)", "station_sent_bytes", "Bytes sent by port.", ("listener",)),
    (r"limit_(\w+)", "station_limit_hits", "How often a limit did its work.", ("limit",)),
    (r"(\w+)", "station_events", "What else the workers count.", ("event",)),
)  # fmt: skip
_GAUGES = ("connections", "tunnels", "held", "tls_bad_pair")


def render(
    workers: Mapping[str, Mapping[str, float]],
    mirrors: Iterable[Mapping[str, Any]],
    facts: Mapping[str, float],
) -> bytes:
    """The text. `workers`: counters by worker; `mirrors`: rows of the mirror list; `facts`: gauges of the station."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Facts([*_counted(workers), *_mirrored(mirrors), *_gauges(facts)]))
    return generate_latest(registry)


class _Facts(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counted(workers: Mapping[str, Mapping[str, float]]) -> Iterable[Metric]:
    gauges = {
        name: GaugeMetricFamily(f"station_{name}", f"{name} now.", labels=["worker"])
        for name in _GAUGES
    }
    families = [
        (re.compile(pattern), CounterMetricFamily(name, text, labels=["worker", *labels]))
        for pattern, name, text, labels in _FAMILIES
    ]
    for worker, counters in sorted(workers.items()):
        for name, value in sorted(counters.items()):
            if name in gauges:
                gauges[name].add_metric([worker], value)
                continue
            for pattern, family in families:
                if match := pattern.fullmatch(name):
                    family.add_metric([worker, *match.groups()], value)
                    break
    return [*gauges.values(), *(family for _, family in families)]


def _mirrored(mirrors: Iterable[Mapping[str, Any]]) -> Iterable[Metric]:
    state = GaugeMetricFamily(
        "station_mirror_state", "1 for its state.", labels=["source", "state"]
    )
    share = GaugeMetricFamily("station_mirror_percentage", "How much is here.", labels=["source"])
    for row in mirrors:
        state.add_metric([row["source"], row["state"]], 1.0)
        share.add_metric([row["source"]], float(row["percentage"] or 0))
    return [state, share]


def _gauges(facts: Mapping[str, float]) -> Iterable[Metric]:
    return [
        GaugeMetricFamily(f"station_{name}", name.replace("_", " "), value=value)
        for name, value in facts.items()
    ]
