"""HTTP/2 over one blocking connection, a request at a time: the client's half of RFC 9113 that unary calls need."""

from __future__ import annotations

import os
import socket  # noqa: TID251 (an adapter)
import struct
import time  # noqa: TID251 (an adapter: the socket's time-outs)
from collections.abc import Iterable
from typing import Final, NamedTuple

from rube.api.addresses import check_host_port
from rube.host.network import ChannelTls
from rube.transport import hpack
from rube.transport.addresses import short_address
from rube.transport.tls_faults import TlsFault

HEADER_BYTES_MAX: Final = 64 * 1024
_FRAME_BYTES_MAX: Final = 16_384
_WINDOW_MAX: Final = 2**31 - 1
_WINDOW_INITIAL: Final = 65_535
_RECEIVE_BYTES: Final = 256 * 1024
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING = 0, 1, 3, 4, 5, 6
_GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5
_REFUSED_STREAM: Final = 7
_TLS_ALERT: Final = b"\x15"
_PROBE_S_MAX: Final = 1.0


class LostError(Exception):
    """The connection cannot be used any more; the text says why."""


class UntrustedError(LostError):
    """TLS refuses the connection, or one side lacks it: the text says what to do."""


class RefusedError(Exception):
    """The server says that it did nothing with the request (sections 6.8 and 8.7)."""


class TooLargeError(Exception):
    """The response has more bytes than the caller takes."""


class _Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes

    def encoded(self) -> bytes:
        head = struct.pack(">BHBBL", len(self.payload) >> 16, len(self.payload) & 0xFFFF, *self[:3])
        return head + self.payload

    def unpadded(self) -> bytes:
        """Returns the payload without padding and priority. Raises LostError."""
        payload = self.payload
        if self.flags & _PADDED:
            if not payload or payload[0] >= len(payload):
                raise LostError("it sent a frame with more padding than bytes")
            payload = payload[1 : len(payload) - payload[0]]
        return payload[5:] if self.kind == _HEADERS and self.flags & _PRIORITY else payload


class Response:
    """The answer to one request, as far as it has come: headers with trailers, and the body."""

    def __init__(self, stream: int, window: int, bytes_max: int) -> None:
        self.headers: dict[str, bytes] = {}
        self.body = bytearray()
        self.done = False
        self.has_request = False
        """True if the server got the whole request: if not, nothing more can be sent on its connection."""
        self.stream = stream
        self.window = window
        """How many bytes of the request the server takes now, on this stream."""
        self._bytes_max = bytes_max
        self._block = bytearray()
        self._ends = False

    def take(self, frame: _Frame) -> None:
        """Takes a frame of its stream. Raises LostError, RefusedError and TooLargeError."""
        match frame.kind:
            case 0:  # DATA
                self.body += frame.unpadded()
                if len(self.body) > self._bytes_max:
                    raise TooLargeError
                self.done = self.done or bool(frame.flags & _END_STREAM)
            case 1 | 9:  # HEADERS, CONTINUATION
                self._take_headers(frame)
            case 3:  # RST_STREAM
                self._reset(int.from_bytes(frame.payload))
            case 8:  # WINDOW_UPDATE
                self.window += _increment(frame.payload)

    def _take_headers(self, frame: _Frame) -> None:
        if frame.kind == _HEADERS:
            self._ends = bool(frame.flags & _END_STREAM)
        self._block += frame.unpadded() if frame.kind == _HEADERS else frame.payload
        if len(self._block) > HEADER_BYTES_MAX:
            raise LostError(f"it sent more than {HEADER_BYTES_MAX} bytes of headers")
        if frame.flags & _END_HEADERS:
            try:
                self.headers.update(hpack.decode(bytes(self._block)))
            except hpack.HpackError as error:
                raise LostError(f"its headers do not decode: {error}") from error
            self._block.clear()
            self.done = self.done or self._ends

    def _reset(self, code: int) -> None:
        if code == _REFUSED_STREAM:
            raise RefusedError
        if not self.done:
            raise LostError(f"it ended the request with code {code}")


class Http2Connection:
    """A connection to one server. After an error it is of no more use: close it.

    Times are of the monotonic clock. A call that is not over at its `end_s` raises TimeoutError, and the operating
    system's errors pass through.
    """

    def __init__(self, target: str, end_s: float, tls: ChannelTls | None = None) -> None:
        """Connects to `host:port` or `unix:/path`. Raises UntrustedError, and LostError for a server that does not
        speak HTTP/2."""
        self._end_s = end_s
        self._received = bytearray()
        self._window = self._window_of_streams = _WINDOW_INITIAL
        self._frame_max = _FRAME_BYTES_MAX
        self._last_stream = -1
        self._ending = False  # the server takes no further requests
        self._taken = 0
        self._target = target
        self._nothing_yet: tuple[type[OSError], ...] = (BlockingIOError,)
        self._socket = _connected(target, self._left_s())
        try:
            if tls is None or target.startswith("unix:"):
                self._greet_in_plain_text()
            else:
                self._greet_secured(tls)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def request(self, headers: Iterable[tuple[str, str]], body: bytes, bytes_max: int, end_s: float) -> Response:
        """Returns the whole response. Raises RefusedError, TooLargeError and LostError.

        A server may answer before it has the whole request (`Response.has_request`).
        """
        self._end_s = end_s
        if self._taken:  # told now: a server may close as soon as it has answered
            self._send(_Frame(_WINDOW_UPDATE, 0, 0, struct.pack(">L", self._taken)))
            self._taken = 0
        self._last_stream += 2
        response = Response(self._last_stream, self._window_of_streams, bytes_max)
        self._send(_Frame(_HEADERS, _END_HEADERS, response.stream, hpack.encode(headers)))
        self._send_body(response, body)
        while not response.done:
            self._receive(response)
        self._taken += len(response.body)
        return response

    def is_open(self) -> bool:
        """Takes what the server has sent since the last request; returns whether it takes another one."""
        try:
            while not self._ending:
                self._socket.setblocking(False)  # an answer to a frame sets a time-out
                if self._has_frame():
                    frame = self._read_frame()
                    if frame.stream == 0:
                        self._control(frame, None)
                elif part := self._socket.recv(_RECEIVE_BYTES):
                    self._received += part
                else:
                    return False
        except self._nothing_yet:
            return True
        except (OSError, LostError, RefusedError):
            return False
        return False

    def _has_frame(self) -> bool:
        return len(self._received) >= 9 and len(self._received) >= 9 + int.from_bytes(self._received[:3])

    def _greet_in_plain_text(self) -> None:
        try:
            self._greet()
        except (LostError, ConnectionError) as error:
            # A server with TLS closes, or answers with an alert.
            if not self._target.startswith("unix:") and bytes(self._received[:1]) in (b"", _TLS_ALERT):
                raise UntrustedError(TlsFault.TLS_SERVER.value) from error
            raise

    def _greet_secured(self, tls: ChannelTls) -> None:
        """Raises UntrustedError."""
        import ssl  # a quarter of the time that a command without it takes

        from rube.transport.tls import client_context
        from rube.transport.tls_probe import describe_fault, explain, is_plain

        self._nothing_yet = (BlockingIOError, ssl.SSLWantReadError)
        host = check_host_port(self._target)[0].strip("[]")
        try:
            self._socket = client_context(tls).wrap_socket(
                self._socket, server_hostname=host, suppress_ragged_eofs=False
            )
            self._greet()  # the server's refusal comes after the client's part of the handshake
        except (ssl.SSLEOFError, ConnectionError) as error:
            # The server may have closed before its alert was read: ask again, and send nothing.
            raise UntrustedError(explain(self._target, tls, _PROBE_S_MAX) or TlsFault.REFUSED.value) from error
        except ssl.SSLError as error:
            raise UntrustedError(describe_fault(error)) from error
        except TimeoutError as error:
            if is_plain(self._target, _PROBE_S_MAX):
                raise UntrustedError(TlsFault.PLAIN_SERVER.value) from error
            raise

    def _greet(self) -> None:
        """Sends this side's settings and waits for the server's: what answers with them speaks HTTP/2."""
        settings = ((_TABLE_SIZE, hpack.TABLE_BYTES_MAX), (_ENABLE_PUSH, 0), (_INITIAL_WINDOW_SIZE, _WINDOW_MAX))
        payload = b"".join(struct.pack(">HL", *setting) for setting in settings)
        self._socket.sendall(_PREFACE)
        self._send(_Frame(_SETTINGS, 0, 0, payload))
        self._send(_Frame(_WINDOW_UPDATE, 0, 0, struct.pack(">L", _WINDOW_MAX - _WINDOW_INITIAL)))
        frame = self._read_frame()
        if frame.kind != _SETTINGS or frame.flags & _ACK or frame.stream:
            raise LostError("it does not speak HTTP/2")
        self._control(frame, None)

    def _send_body(self, response: Response, body: bytes) -> None:
        at = 0
        while at < len(body) and not response.done:
            room = min(self._window, response.window, self._frame_max)
            if room <= 0:
                self._receive(response)
                continue
            part = body[at : at + room]
            at += len(part)
            self._window -= len(part)
            response.window -= len(part)
            self._send(_Frame(_DATA, _END_STREAM if at == len(body) else 0, response.stream, part))
        response.has_request = at == len(body)

    def _receive(self, response: Response) -> None:
        frame = self._read_frame()
        if frame.stream == 0:
            self._control(frame, response)
        elif frame.stream == response.stream:
            response.take(frame)

    def _control(self, frame: _Frame, response: Response | None) -> None:
        """Does what a frame about the whole connection asks for."""
        match frame.kind:
            case 4 if not frame.flags & _ACK:  # SETTINGS
                self._apply(frame.payload, response)
                self._send(_Frame(_SETTINGS, _ACK, 0, b""))
            case 6 if not frame.flags & _ACK:  # PING
                self._send(_Frame(_PING, _ACK, 0, frame.payload))
            case 7:  # GOAWAY
                self._ending = True
                if response is None or int.from_bytes(frame.payload[:4]) & _WINDOW_MAX < response.stream:
                    raise RefusedError
            case 8:  # WINDOW_UPDATE
                self._window += _increment(frame.payload)

    def _apply(self, payload: bytes, response: Response | None) -> None:
        if len(payload) % 6:
            raise LostError("its settings do not decode")
        for setting, value in struct.iter_unpack(">HL", payload):
            if setting == _INITIAL_WINDOW_SIZE:
                if response is not None:
                    response.window += value - self._window_of_streams
                self._window_of_streams = value
            elif setting == _MAX_FRAME_SIZE:
                self._frame_max = value

    def _read_frame(self) -> _Frame:
        head = self._read(9)
        size = int.from_bytes(head[:3])
        if size > _FRAME_BYTES_MAX:
            raise LostError("it does not speak HTTP/2")  # such as one of HTTP/1.1, whose words are no frame
        return _Frame(head[3], head[4], int.from_bytes(head[5:]) & _WINDOW_MAX, self._read(size))

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            self._socket.settimeout(self._left_s())
            if not (part := self._socket.recv(_RECEIVE_BYTES)):
                raise LostError("it closed the connection")
            self._received += part
        found = bytes(self._received[:size])
        del self._received[:size]
        return found

    def _send(self, frame: _Frame) -> None:
        self._socket.settimeout(self._left_s())
        self._socket.sendall(frame.encoded())

    def _left_s(self) -> float:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def _connected(target: str, timeout_s: float) -> socket.socket:
    if target.startswith("unix:"):
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found.settimeout(timeout_s)
        try:
            found.connect(os.fsencode(short_address(target).removeprefix("unix:")))
        except OSError:
            found.close()
            raise
        return found
    host, port = check_host_port(target)
    found = socket.create_connection((host.strip("[]"), port), timeout_s)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def _increment(payload: bytes) -> int:
    return int.from_bytes(payload) & _WINDOW_MAX
