"""The real network: gRPC servers and channels behind the port `rube.host.Network`, and what levels their differences.

Here: the adapters for grpcio and pygrpc-native, the translation of errors to and from the wire, whether a call can have
been sent, health and reflection,
and a loopback forwarder that breaks connections on purpose. Not here: any service of Rube (`rube.server`,
`rube.rubelet`), retries and endpoints (`rube.client`), the simulated network (`rube.sim.world.network`), which shares
`LevelServer` and so behaves alike.
"""

from rube.transport.connecting import connect, is_connected
from rube.transport.errors import abort_with, rube_error
from rube.transport.network import GrpcNetwork, ServerKind
from rube.transport.options import ChannelOptions
from rube.transport.servicer import LevelServer
from rube.transport.services import StandardServices, add_standard_services

__all__ = [
    "ChannelOptions",
    "GrpcNetwork",
    "LevelServer",
    "ServerKind",
    "StandardServices",
    "abort_with",
    "add_standard_services",
    "connect",
    "is_connected",
    "rube_error",
]
