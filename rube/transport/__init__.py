"""The real network: gRPC servers and channels behind the port `rube.host.Network`, and the layer that levels their
differences.

This package has the adapters for h2corn and grpcio, the translation of errors to and from the wire,
the check whether a call can have been sent, health and reflection, and a loopback forwarder that breaks connections on
purpose.
Rube's services are in `rube.server` and `rube.rubelet`, retries and endpoints in `rube.client`. The simulated network
(`rube.sim.world.network`) shares `LevelServer` and so behaves alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rube.lazy import lazy_names

if TYPE_CHECKING:
    from rube.transport.connecting import connect, is_connected
    from rube.transport.errors import abort_with, rube_error
    from rube.transport.network import GrpcNetwork, ServerKind
    from rube.transport.options import ChannelOptions
    from rube.transport.peers import Peer, peer
    from rube.transport.servicer import Encoded, LevelServer
    from rube.transport.services import StandardServices, add_standard_services

__all__ = [
    "ChannelOptions",
    "Encoded",
    "GrpcNetwork",
    "LevelServer",
    "Peer",
    "ServerKind",
    "StandardServices",
    "abort_with",
    "add_standard_services",
    "connect",
    "is_connected",
    "peer",
    "rube_error",
]

if not TYPE_CHECKING:  # to a type checker it would mean that there is every name
    __getattr__ = lazy_names(
        __name__,
        {
            "connecting": "connect is_connected",
            "errors": "abort_with rube_error",
            "network": "GrpcNetwork ServerKind",
            "options": "ChannelOptions",
            "peers": "Peer peer",
            "servicer": "Encoded LevelServer",
            "services": "StandardServices add_standard_services",
        },
    )
