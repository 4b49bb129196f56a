"""The controllers of a scenario's cluster, where they are replicated."""

from __future__ import annotations

from rube.sim.scenario.scenario_pb2 import Cluster
from rube.sim.scenario.yamlproto import Source

REPLICAS_MAX = 7
REPLICAS = 3


def controller_replicas(cluster: Cluster) -> list[str]:
    """The hosts of the replicated controllers; none where they run beside the apiservers."""
    return [f"controller-{number + 1}" for number in range(min(cluster.controller_replicas.count, REPLICAS_MAX))]


def check_replicas(cluster: Cluster, source: Source) -> None:
    """Notes their errors in `source`."""
    if cluster.HasField("controller_replicas") and not 1 <= cluster.controller_replicas.count <= REPLICAS_MAX:
        path = ("cluster", "controller_replicas", "count")
        source.error(path, f"{cluster.controller_replicas.count} replicas: write 1 to {REPLICAS_MAX}")
