"""The Host of a real machine."""

from __future__ import annotations

import platform

from rube.host import ChannelTls, Host, RealClock, RealRandomness
from rube.store import RealStorage
from rube.transport import GrpcNetwork, ServerKind


def real_host(*, server_kind: ServerKind = "h2corn", tls: ChannelTls | None = None) -> Host:
    """Real clock, gRPC on h2corn unless another server is asked for, engines on disk, the OS's randomness. `tls`: the
    identity of this process."""
    return Host(
        name=platform.node(),
        clock=RealClock(),
        network=GrpcNetwork(server_kind=server_kind, tls=tls),
        storage=RealStorage(),
        random=RealRandomness(),
    )
