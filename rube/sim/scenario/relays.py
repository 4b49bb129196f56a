"""The relays of a scenario's cluster."""

from __future__ import annotations

from rube.sim.scenario.scenario_pb2 import Cluster
from rube.sim.scenario.yamlproto import Source

RELAYS_MAX = 16
RELAYS = 3


def relay_names(cluster: Cluster) -> list[str]:
    """The hosts of the relays; none without them."""
    return [f"relay-{number + 1}" for number in range(min(cluster.relays.count, RELAYS_MAX))]


def check_relays(cluster: Cluster, source: Source) -> None:
    """Notes their errors in `source`."""
    if cluster.relays.count > RELAYS_MAX:
        source.error(("cluster", "relays", "count"), f"{cluster.relays.count} relays: write 1 to {RELAYS_MAX}")
