"""Errors on the wire: a RubeError becomes a status with details, and comes back as the same class.

The details travel as `grpc-status-details-bin`, a google.rpc.Status, so that foreign clients can read them too
(https://grpc.io/docs/guides/error/#richer-error-model).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn, cast

import grpc
from grpc import aio

from rube.api.errors import RubeError, encode_error
from rube.transport.statuses import DETAILS_KEY, status_error

Pairs = Iterable[tuple[str, str | bytes]]
"""Metadata; the stubs don't say that it iterates as pairs."""

MESSAGE_BYTES_MAX = 1500
"""An error's message is cut to this: it travels twice, and clients refuse more than 8 KiB of metadata."""

DETAILS_BYTES_MAX = 4096
"""Details larger than this travel without the error's metadata."""


async def abort_with(context: aio.ServicerContext[Any, Any], error: RubeError) -> NoReturn:
    """Ends the call with the error's code, its message and its details in the trailing metadata."""
    message = _cut(error.message)
    details = encode_error(error) if message == error.message else encode_error(type(error)(message, **error.metadata))
    if len(details) > DETAILS_BYTES_MAX:
        details = encode_error(type(error)(message))
    await context.abort(grpc.StatusCode[error.code], message, (*_kept_trailers(context), (DETAILS_KEY, details)))


def rube_error(error: aio.AioRpcError) -> RubeError:
    """Returns the error of a call, as `status_error` words it."""
    return status_error(error.code().name, error.details() or "", _details(error))


def _details(error: aio.AioRpcError) -> bytes | None:
    for key, value in cast(Pairs, error.trailing_metadata() or ()):
        if key == DETAILS_KEY:
            return value if isinstance(value, bytes) else None
    return None


def _kept_trailers(context: aio.ServicerContext[Any, Any]) -> list[tuple[str, str | bytes]]:
    """Returns the trailers that the handler had set itself: abort's metadata would replace them."""
    trailers = cast(Pairs, context.trailing_metadata() or ())
    return [(key, value) for key, value in trailers if key != DETAILS_KEY]


def _cut(message: str) -> str:
    encoded = message.encode()
    if len(encoded) <= MESSAGE_BYTES_MAX:
        return message
    return encoded[: MESSAGE_BYTES_MAX - 4].decode(errors="ignore") + " ..."
