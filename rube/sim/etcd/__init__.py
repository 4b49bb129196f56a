"""A simulated etcd, so that worlds run on etcd too: etcd 3.4's gRPC API, on hosts that break.

This package has etcd's keyspace (`keyspace`, `apply`, `requests`: pure) as the state machine of a Raft group
(`machine`, `member`), the services (`kv`, `watch`, `maintenance`), and a member as a program (`server`). The group
itself is `rube.group` and `rube.raft`; Rube's store on etcd is `rube.store.etcd`. docs/explanation/simulation.md lists
what is not modelled.

The same test bodies run on a real etcd and on this one: tests/conformance/etcd.
"""

from __future__ import annotations

from rube.sim.etcd.config import CLIENT_PORT, DATA_URL, LOG_ENTRIES_KEPT, PEER_PORT, MemberConfig, Quirks, Timing
from rube.sim.etcd.server import run_member

__all__ = [
    "CLIENT_PORT",
    "DATA_URL",
    "LOG_ENTRIES_KEPT",
    "PEER_PORT",
    "MemberConfig",
    "Quirks",
    "Timing",
    "run_member",
]
