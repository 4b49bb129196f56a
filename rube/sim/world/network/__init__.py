"""The simulated network: the twin of `rube.transport`, on the simulation kernel.

This package has connections between simulated hosts as TCP and HTTP/2 have them, channels and servers in grpc.aio's
shape on top, and the faults that a scenario may cause. It knows no scenario files and no services.
"""

from __future__ import annotations

from rube.sim.world.network.fabric import SimFabric
from rube.sim.world.network.links import LOOPBACK, Link
from rube.sim.world.network.network import SimNetwork
from rube.sim.world.network.tap import CallTap, Tap
from rube.sim.world.network.tls import SimCertificate, TlsFiles

__all__ = ["LOOPBACK", "CallTap", "Link", "SimCertificate", "SimFabric", "SimNetwork", "Tap", "TlsFiles"]
