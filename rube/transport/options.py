"""The promises of a channel to its user, and the options of gRPC's core on both ends."""

from __future__ import annotations

from dataclasses import dataclass

from rube.host import ServerOptions
from rube.host.network import MESSAGE_BYTES_MAX

CoreOptions = list[tuple[str, int]]

PING_INTERVAL_MS_MIN = 10
"""Servers accept a client's keepalive pings this often: they never count as an attack (ENHANCE_YOUR_CALM)."""

STREAMS_MAX = 2**31 - 1

WINDOW_BYTES = 4 * 1024 * 1024
"""A stream's peer may send so much that was not read, and finish the message it is in."""

# By default gRPC's core doubles a window when pings are answered late, as on a busy machine: past 16 MiB a stream.
_FLOW_CONTROL: CoreOptions = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", WINDOW_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """The options of a channel's connection. Times in seconds."""

    message_bytes_max: int = MESSAGE_BYTES_MAX
    keepalive_s: float = 10.0
    """The connection is pinged when nothing was received for so long, also without calls."""
    keepalive_timeout_s: float = 5.0
    """It is given up when a ping is not answered for so long; its calls end with UNAVAILABLE."""
    backoff_s_initial: float = 0.1
    backoff_s_max: float = 2.0
    """Between two attempts to connect: grows from the first to the second by a factor of 1.6."""
    connect_timeout_s: float = 2.0
    """One attempt to connect takes at most this long."""
    pack: bool | None = None
    """Large messages to and from Rube's servers are packed (rube.transport.packing). None: unless the target is this
    machine, or zstandard is not installed."""


def server_core_options(options: ServerOptions) -> CoreOptions:
    """Returns a server's options for gRPC's core. A port in use is an error: SO_REUSEPORT is off."""
    return [
        ("grpc.so_reuseport", 0),
        # A connection's streams past a limit would wait at the client, in silence: `calls_max` refuses instead.
        ("grpc.max_concurrent_streams", STREAMS_MAX),
        # By default grpcio resets calls that come in a burst, as from all clients of a server that is back.
        ("grpc.server.max_pending_requests", options.calls_max),
        ("grpc.server.max_pending_requests_hard_limit", options.calls_max),
        ("grpc.max_send_message_length", options.message_bytes_max),
        ("grpc.max_receive_message_length", options.message_bytes_max),
        *_FLOW_CONTROL,
        *_keepalive(options.keepalive_s, options.keepalive_timeout_s),
        ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MS_MIN),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def channel_core_options(options: ChannelOptions) -> CoreOptions:
    """Returns a channel's options for gRPC's core.

    Each channel has a connection of its own, as in the simulation; gRPC does not retry calls itself (`rube.client`
    knows which may be retried); there is no proxy.
    """
    return [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_send_message_length", options.message_bytes_max),
        ("grpc.max_receive_message_length", options.message_bytes_max),
        *_FLOW_CONTROL,
        *_keepalive(options.keepalive_s, options.keepalive_timeout_s),
        ("grpc.initial_reconnect_backoff_ms", _ms(options.backoff_s_initial)),
        ("grpc.min_reconnect_backoff_ms", _ms(options.connect_timeout_s)),
        ("grpc.max_reconnect_backoff_ms", _ms(options.backoff_s_max)),
    ]


def _keepalive(every_s: float, timeout_s: float) -> CoreOptions:
    return [
        ("grpc.keepalive_time_ms", _ms(every_s)),
        ("grpc.keepalive_timeout_ms", _ms(timeout_s)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.ping_timeout_ms", _ms(timeout_s)),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
