"""A simulated etcd, so that worlds run on etcd too: etcd 3.4's gRPC API, on hosts that break.

Here: a keyspace as etcd's (`keyspace`, `apply`, `requests`: pure), a log that a majority of disks holds (`log`,
`consensus`), the services (`kv`, `watch`, `maintenance`), and a member as a program (`server`). Not here: whatever Rube
makes of an etcd (`rube.store.etcd`). What is not modelled: docs/simulation.md.

The same test bodies run on a real etcd and on this one: tests/conformance/etcd.
"""

from rube.sim.etcd.consensus import Timing
from rube.sim.etcd.member import CLIENT_PORT, PEER_PORT, MemberConfig, Quirks
from rube.sim.etcd.referee import Referee
from rube.sim.etcd.server import run_member

__all__ = ["CLIENT_PORT", "PEER_PORT", "MemberConfig", "Quirks", "Referee", "Timing", "run_member"]
