"""The status that ended a call, as an error: what the clients of gRPC and of `rube.transport.unary` share."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from rube.api.errors import RubeError, UnavailableError, decode_error

DETAILS_KEY = "grpc-status-details-bin"


def status_error(code: str, message: str, details: bytes | None) -> RubeError:
    """Returns the error of a call. Details that don't parse are ignored, since code and message are enough.

    CANCELLED is the server's here (asyncio.CancelledError is the caller's own): it stops, so it is UnavailableError.
    """
    if code == "CANCELLED":
        return UnavailableError(f"the server ended the call ({message}): it may have been done")
    try:
        return decode_error(code, message, details)
    except DecodeError:
        return decode_error(code, message)
