"""The Host of a real machine."""

from __future__ import annotations

import platform

from rube.host import Host, RealClock, RealRandomness
from rube.store import RealStorage
from rube.transport import GrpcNetwork, ServerKind


def real_host(*, server_kind: ServerKind = "h2corn") -> Host:
    """Real clock, gRPC on h2corn unless another server is asked for, engines on disk, the OS's randomness."""
    return Host(
        name=platform.node(),
        clock=RealClock(),
        network=GrpcNetwork(server_kind=server_kind),
        storage=RealStorage(),
        random=RealRandomness(),
    )
