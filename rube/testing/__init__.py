"""Tests of a user's own controllers, types and clients against a simulated cluster, with pytest and Hypothesis.

The decorator simulate gives a test function a Cluster, or an AsyncCluster if it is a coroutine function. Names are
loaded when they are used, since pytest imports this package in every project beside which it is installed.

- `machine` is a state machine of Hypothesis over a cluster, `strategies` draw objects of any type.
- `plugin` is what pytest loads; `simulating` makes tests of functions.
- `cluster` and `async_cluster` are the cluster's two faces; `faults` and `calls` of the API are their methods, `world`
  builds and judges the cluster, `command` runs ructl in it, and `diary` keeps what a failed test shows.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rube.sim.judges.claims import always, eventually, never
    from rube.testing.async_cluster import AsyncCluster
    from rube.testing.cluster import Cluster
    from rube.testing.command import Ran
    from rube.testing.machine import ClusterMachine
    from rube.testing.simulating import simulate
    from rube.testing.strategies import names, objects, specs

_PLACES = {
    "ClusterMachine": "rube.testing.machine",
    "always": "rube.sim.judges.claims",
    "eventually": "rube.sim.judges.claims",
    "names": "rube.testing.strategies",
    "never": "rube.sim.judges.claims",
    "objects": "rube.testing.strategies",
    "specs": "rube.testing.strategies",
    "AsyncCluster": "rube.testing.async_cluster",
    "Cluster": "rube.testing.cluster",
    "Ran": "rube.testing.command",
    "simulate": "rube.testing.simulating",
}

__all__ = [
    "AsyncCluster",
    "Cluster",
    "ClusterMachine",
    "Ran",
    "always",
    "eventually",
    "names",
    "never",
    "objects",
    "simulate",
    "specs",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
