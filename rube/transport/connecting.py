"""The check whether a call can be begun: the one place that knows that a call was never sent.

gRPC reports a call that found no connection and one that lost its connection with the same status, and tells them apart
only by text, part of which servers may word. So no text decides here: a call is begun only on a channel that is READY.
A channel that does not get there is NotSentError, and no call was made. A call that was begun and fails may have been
carried out, unless the server says otherwise by a NotDoneError.
"""

from __future__ import annotations

from grpc import ChannelConnectivity, aio

from rube.api.errors import NotSentError
from rube.host import Clock
from rube.transport.tls_faults import TlsFault

# A harmless call on a channel without a connection, which gRPC itself answers with the reason.
_PROBE = "/grpc.health.v1.Health/Check"
_PROBE_TIMEOUT_S = 0.5
_WHY_CHARS_MAX = 300
# What gRPC says of a connection that the server ends at the preface.
_ENDED_AT_ONCE = "Socket closed"


def is_connected(channel: aio.Channel) -> bool:
    """Returns whether a call that is begun now, before anything else runs, has a connection. An idle channel
    connects."""
    return channel.get_state(try_to_connect=True) is ChannelConnectivity.READY


async def connect(channel: aio.Channel, target: str, clock: Clock, timeout_s: float) -> None:
    """Returns once the channel has a connection: begin the call before the next await.

    Does not wait if the last attempt to connect has failed and the next one is not due. Raises NotSentError.
    """
    if is_connected(channel):
        return
    try:
        async with clock.timeout(timeout_s):
            state = await _settled(channel)
    except TimeoutError:
        why = await _fault_of_tls(channel)
        if why:
            raise _untrusted(target, why) from None
        raise NotSentError(
            f"there is no connection to {target} after {timeout_s:.3g} s",
            why=f"no answer within {timeout_s:.3g} s",
            silent="true",
        ) from None
    if state is not ChannelConnectivity.READY:
        if why := await _fault_of_tls(channel):
            raise _untrusted(target, why)
        why = await _why_not(channel)
        if why.endswith(_ENDED_AT_ONCE) and not hasattr(channel, "explain"):
            raise _untrusted(target, TlsFault.TLS_SERVER.value)
        raise NotSentError(f"there is no connection to {target}: {why}", why=why)


def _untrusted(target: str, why: str) -> NotSentError:
    return NotSentError(f"there is no connection to {target}: {why}", why=why, tls="true")


async def _settled(channel: aio.Channel) -> ChannelConnectivity:
    state = channel.get_state(try_to_connect=True)
    while state in (ChannelConnectivity.IDLE, ChannelConnectivity.CONNECTING):
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
    return state


async def _fault_of_tls(channel: aio.Channel) -> str:
    """Returns what a channel over TLS says of its last attempt, "" for another channel."""
    explain = getattr(channel, "explain", None)
    return "" if explain is None else str(await explain())


async def _why_not(channel: aio.Channel) -> str:
    """Returns the reason in gRPC's words, for users to read."""
    try:
        await channel.unary_unary(_PROBE, None, None)(b"", timeout=_PROBE_TIMEOUT_S)
    except aio.AioRpcError as error:
        text = error.details() or error.code().name
        return text.rpartition("last error: ")[2].removeprefix("UNKNOWN: ")[:_WHY_CHARS_MAX]
    return "the connection came too late"
