"""Unary calls of gRPC without grpc and asyncio, for a program that makes a few and ends.

To import those two costs such a program more than all else that it does (docs/decisions/ructl-start.md). It has no
compression, and one call at a time.
"""

from __future__ import annotations

import base64
import binascii
import struct
import time  # noqa: TID251 (an adapter: the socket's time-outs)
from typing import Final
from urllib.parse import unquote

from rube.api.errors import DeadlineExceededError, NotDoneError, NotSentError, ResourceExhaustedError, UnavailableError
from rube.host.network import ChannelTls
from rube.transport.http2 import Http2Connection, LostError, RefusedError, Response, TooLargeError, UntrustedError
from rube.transport.statuses import DETAILS_KEY, status_error

MESSAGE_BYTES_MAX: Final = 32 * 1024 * 1024
IDLE_S_MAX: Final = 2.0
"""A connection that has rested so long is not used again: no ping of the server was answered meanwhile."""
_PREFIX_BYTES: Final = 5
_TIMEOUT_MS_MAX: Final = 99_999_999

_STATUSES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
# https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html
_STATUS_OF_HTTP: Final = {
    **dict.fromkeys((429, 502, 503, 504), "UNAVAILABLE"),
    400: "INTERNAL",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNIMPLEMENTED",
}


class EndedCall(Exception):
    """The status that a server ended a call with: the cause of the error that it became."""

    def __init__(self, code: str, message: str, details: bytes | None) -> None:
        super().__init__(f"{code}: {message}")
        self.details = details


class UnaryConnection:
    """A connection to one server."""

    def __init__(self, target: str, end_s: float, tls: ChannelTls | None = None) -> None:
        """Connects to `host:port` or `unix:/path` until `end_s` on the monotonic clock. Raises NotSentError."""
        begun_s = self._rested_s = time.monotonic()
        self._target = target
        self._scheme = "http" if tls is None or target.startswith("unix:") else "https"
        self._closed = False
        try:
            self._connection = Http2Connection(target, end_s, tls)
        except TimeoutError:
            why = f"no answer within {end_s - begun_s:.3g} s"
            raise NotSentError(f"there is no connection to {target}: {why}", why=why, silent="true") from None
        except RefusedError:
            why = "it takes no more calls"
            raise NotSentError(f"there is no connection to {target}: {why}", why=why) from None
        except UntrustedError as error:
            why = str(error)
            raise NotSentError(f"there is no connection to {target}: {why}", why=why, tls="true") from error
        except (OSError, LostError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise NotSentError(f"there is no connection to {target}: {why}", why=why) from error

    @property
    def is_usable(self) -> bool:
        """True: another call can be begun on it."""
        rested_s = time.monotonic() - self._rested_s
        return not self._closed and rested_s < IDLE_S_MAX and self._connection.is_open()

    def close(self) -> None:
        self._closed = True
        self._connection.close()

    def call(self, path: str, request: bytes, end_s: float) -> bytes:
        """Returns the response of a method such as `/api.Api/Get`.

        Raises a RubeError; an EndedCall is its cause if the server ended the call with it.
        """
        left_ms = max(1, min(round((end_s - time.monotonic()) * 1000), _TIMEOUT_MS_MAX))
        headers = (
            (":method", "POST"),
            (":scheme", self._scheme),
            (":path", path),
            (":authority", "localhost" if self._target.startswith("unix:") else self._target),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-timeout", f"{left_ms}m"),
        )
        body = struct.pack(">BL", 0, len(request)) + request
        reusable = False
        try:
            response = self._connection.request(headers, body, MESSAGE_BYTES_MAX + _PREFIX_BYTES, end_s)
            reusable = response.has_request
        except TimeoutError:
            raise DeadlineExceededError(f"{self._target} did not answer in time") from None
        except RefusedError:
            raise NotDoneError(f"{self._target} takes no more calls: try again") from None
        except TooLargeError:
            raise ResourceExhaustedError(
                f"the answer has more than {MESSAGE_BYTES_MAX} bytes: ask for less at a time", limit=MESSAGE_BYTES_MAX
            ) from None
        except (OSError, LostError) as error:
            raise UnavailableError(f"the connection to {self._target} was lost: {error}") from error
        finally:
            self._rested_s = time.monotonic()
            if not reusable:
                self.close()
        return _message(response)


def _message(response: Response) -> bytes:
    """Returns the one message of a response. Raises the error that its status is."""
    code, text, details = _status(response)
    if code != "OK":
        raise status_error(code, text, details) from EndedCall(code, text, details)
    body = bytes(response.body)
    if body[:1] != b"\0" or int.from_bytes(body[1:_PREFIX_BYTES]) != len(body) - _PREFIX_BYTES:
        raise UnavailableError("the answer is not one message without compression: is this a server of Rube?")
    return body[_PREFIX_BYTES:]


def _status(response: Response) -> tuple[str, str, bytes | None]:
    """Returns the code's name, the message and the details."""
    headers = response.headers
    number = headers.get("grpc-status", b"").decode("ascii", errors="replace")
    if not number:
        http = headers.get(":status", b"").decode("ascii", errors="replace")
        return _STATUS_OF_HTTP.get(int(http) if http.isdigit() else 0, "UNKNOWN"), f"HTTP status {http}", None
    code = _STATUSES[int(number)] if number.isdigit() and int(number) < len(_STATUSES) else "UNKNOWN"
    text = unquote(headers.get("grpc-message", b"").decode("utf-8", errors="replace"))
    return code, text, _from_base64(headers.get(DETAILS_KEY))


def _from_base64(value: bytes | None) -> bytes | None:
    if value is None:
        return None
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        return None  # the code and the message are enough
