"""The token that leads from one page of a list to the next: opaque to clients, bound to its revision and its filter."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import NamedTuple

from rube.api.errors import InvalidArgumentError

_VERSION = 1
TOKEN_CHARS_MAX = 4096
"""Characters of a token: far more than a key of the longest names needs."""
# Version; checksum of the filter, the store's id and the rest of the token; revision; then the key.
_HEADER = struct.Struct(">BIQ")


class PageToken(NamedTuple):
    """The place of the next page: the list goes on after `last_key`, as the store was at `revision`."""

    revision: int
    last_key: bytes


def encode_token(token: PageToken, scope: str) -> str:
    """Encodes the token. `scope` is everything that must be the same for the next page: the filter and the store's
    id."""
    raw = _HEADER.pack(_VERSION, _checksum(token, scope), token.revision) + token.last_key
    return base64.urlsafe_b64encode(raw).decode()


def decode_token(text: str, scope: str) -> PageToken:
    """Decodes a token. Raises InvalidArgumentError for one that is damaged or of another list."""
    if len(text) > TOKEN_CHARS_MAX:
        raise _refused()
    try:
        raw = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
        version, checksum, revision = _HEADER.unpack_from(raw)
    except (binascii.Error, struct.error, ValueError) as error:
        raise _refused() from error
    token = PageToken(revision, raw[_HEADER.size :])
    if version != _VERSION or checksum != _checksum(token, scope):
        raise _refused()
    return token


def _checksum(token: PageToken, scope: str) -> int:
    return zlib.crc32(b"%d\0%s\0%s" % (token.revision, scope.encode(), token.last_key))


def _refused() -> InvalidArgumentError:
    return InvalidArgumentError(
        "page_token is not one that this list has given: repeat the first request's type, namespace, name and "
        "label_selector with it, or begin again without it",
        field="page_token",
    )
