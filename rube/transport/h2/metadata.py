"""Headers of HTTP/2 and gRPC's metadata, deadlines and statuses in them.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import base64
import binascii
import string
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

Headers = Iterable[tuple[bytes, bytes]]
Metadata = tuple[tuple[str, str | bytes], ...]

TIMEOUT_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
TIMEOUT_DIGITS_MAX = 8
# Headers that belong to the protocol, and never reach a handler.
_RESERVED = frozenset(
    (b"content-type", b"content-length", b"te", b"host", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding")
)
_PLAIN_IN_MESSAGES = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in "%" + string.ascii_letters)


def to_metadata(headers: Headers) -> Metadata:
    """Returns the caller's own metadata. Values of names that end with `-bin` are bytes; one that isn't base64 is left
    out."""
    pairs: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name in _RESERVED or name.startswith(b":"):
            continue
        if not name.endswith(b"-bin"):
            pairs.append((name.decode("latin-1"), value.decode("latin-1")))
            continue
        for part in value.split(b","):
            try:
                pairs.append((name.decode("latin-1"), from_base64(part)))
            except binascii.Error:
                continue
    return tuple(pairs)


def from_base64(text: bytes) -> bytes:
    """Returns the bytes; padding may be missing. Raises binascii.Error."""
    text = text.strip()
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)


def to_headers(metadata: Any) -> list[tuple[bytes, bytes]]:
    """Returns the headers of a handler's metadata. Raises ValueError or TypeError for a value that cannot be one."""
    headers = []
    for key, value in metadata or ():
        name = key.lower().encode("ascii")
        if name.endswith(b"-bin"):
            headers.append((name, base64.b64encode(value.encode() if isinstance(value, str) else bytes(value))))
        else:
            headers.append((name, value if isinstance(value, bytes) else value.encode("ascii")))
    return headers


def timeout_s(value: bytes) -> float:
    """Returns the seconds of a `grpc-timeout` header, such as `200m`. Raises ValueError."""
    digits, unit = value[:-1], value[-1:]
    if unit not in TIMEOUT_UNITS_S or not digits.isdigit() or len(digits) > TIMEOUT_DIGITS_MAX:
        raise ValueError(f"{value!r} is no timeout: up to {TIMEOUT_DIGITS_MAX} digits and one of H, M, S, m, u, n")
    return int(digits) * TIMEOUT_UNITS_S[unit]


def percent_encoded(message: str) -> bytes:
    """Returns a status message as `grpc-message` carries it."""
    return quote(message, safe=_PLAIN_IN_MESSAGES).encode("ascii")
