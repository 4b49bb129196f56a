"""Errors on the wire and at the server's start, without a server."""

from __future__ import annotations

import grpc
import pytest
from grpc import aio
from hypothesis import given
from hypothesis import strategies as st

from rube.api.errors import AbortedError, NotFoundError, RubeError, encode_error
from rube.host import ServerOptions
from rube.transport import GrpcNetwork, rube_error
from rube.transport.options import WINDOW_BYTES, ChannelOptions, channel_core_options, server_core_options
from rube.transport.statuses import DETAILS_KEY


def ended_with(code: grpc.StatusCode, message: str, details: bytes | None) -> aio.AioRpcError:
    trailers = aio.Metadata() if details is None else aio.Metadata((DETAILS_KEY, details))
    return aio.AioRpcError(code, aio.Metadata(), trailers, details=message, debug_error_string="")


@given(st.text(max_size=50), st.dictionaries(st.from_regex(r"\A[a-z]{1,8}\Z"), st.text(max_size=20), max_size=4))
def test_an_error_survives_the_wire(message: str, metadata: dict[str, str]) -> None:
    sent = AbortedError(message, **metadata)
    received = rube_error(ended_with(grpc.StatusCode.ABORTED, message, encode_error(sent)))
    assert (type(received), received.message, received.metadata) == (AbortedError, message, sent.metadata)


@given(st.binary(max_size=40))
def test_details_of_another_making_are_ignored(details: bytes) -> None:
    received = rube_error(ended_with(grpc.StatusCode.NOT_FOUND, "gone", details))
    assert (type(received), received.message) == (NotFoundError, "gone")


def test_a_code_of_no_class_keeps_its_name() -> None:
    received = rube_error(ended_with(grpc.StatusCode.INTERNAL, "oops", None))
    assert (type(received), received.message) == (RubeError, "INTERNAL: oops")


def test_an_interceptor_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="ServerInterceptor"):
        GrpcNetwork().server(ServerOptions(interceptors=("no interceptor",)))  # type: ignore[arg-type]


def test_times_are_told_to_the_core_in_milliseconds_of_at_least_one() -> None:
    channel = dict(channel_core_options(ChannelOptions(keepalive_s=0.0001, backoff_s_max=1.5)))
    assert channel["grpc.keepalive_time_ms"] == 1
    assert channel["grpc.max_reconnect_backoff_ms"] == 1500
    assert dict(server_core_options(ServerOptions()))["grpc.so_reuseport"] == 0


def test_no_peer_widens_a_stream_s_window() -> None:
    for options in (channel_core_options(ChannelOptions()), server_core_options(ServerOptions())):
        assert dict(options)["grpc.http2.bdp_probe"] == 0
        assert dict(options)["grpc.http2.lookahead_bytes"] == WINDOW_BYTES
