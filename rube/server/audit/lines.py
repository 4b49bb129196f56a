"""Lines of an audit log: JSON of auth.AuditEntry, each with a hash over itself and the hash of the line before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from rube.api.errors import DataLossError

NO_HASH: Final = "0" * 64
"""The hash before the first line."""
_HASH: Final = ',"hash":"'
_TEXT_CHARS_MAX: Final = 256
Fields = Mapping[str, Any]


class ChainHead(NamedTuple):
    """The end of a chain."""

    sequence: int = 0
    hash: str = NO_HASH

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


def line_of(head: ChainHead, fields: Fields) -> tuple[ChainHead, bytes]:
    """Returns the head after the next line, and the line, which has an end."""
    body = _ENCODER.encode({"sequence": head.sequence + 1, **fields})[:-1]
    digest = _digest(head.hash, body)
    return ChainHead(head.sequence + 1, digest), f'{body}{_HASH}{digest}"}}\n'.encode()


def shortened(text: str) -> str:
    """Returns a text of a caller, of bounded length."""
    return text if len(text) <= _TEXT_CHARS_MAX else text[: _TEXT_CHARS_MAX - 1] + "…"


def fields_of(line: bytes) -> dict[str, Any]:
    """Returns the fields of a line. Raises DataLossError."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise DataLossError("is no JSON") from error
    if not isinstance(found, dict) or not isinstance(found.get("sequence"), int):
        raise DataLossError("has no sequence")
    return found


def next_head(head: ChainHead | None, line: bytes) -> ChainHead:
    """Returns the head after a line, which has no end. Raises DataLossError if it is not the next line of the chain.

    Without a head, the line is the first of those that are known, and says what is before it.
    """
    fields = fields_of(line)
    sequence = fields["sequence"]
    if head is None:
        head = ChainHead(sequence - 1, str(fields.get("previous") or NO_HASH))
    if sequence != head.sequence + 1:
        raise DataLossError(f"has sequence {sequence} after {head.sequence}: lines are missing, or in another order")
    if "previous" in fields and fields["previous"] != head.hash:
        raise DataLossError("continues another line than the one before it")
    body, mark, rest = line.decode(errors="replace").rpartition(_HASH)
    digest = rest.removesuffix('"}')
    if not mark or digest != _digest(head.hash, body):
        raise DataLossError("does not fit its hash: this line, or the one before it, was changed")
    return ChainHead(sequence, digest)


class Verified(NamedTuple):
    """A chain that is whole."""

    first: int
    head: ChainHead
    first_time: str
    last_time: str


def verify(parts: Iterable[tuple[str, bytes]]) -> Verified:
    """Judges files of lines, oldest first: their names and contents. Raises DataLossError that names the line."""
    head: ChainHead | None = None
    first, times, torn_bytes = 0, ["", ""], 0
    where = "it"
    for name, content in parts:
        *lines, rest = content.split(b"\n")
        for number, line in enumerate(lines, 1):
            where = f"{name}:{number}"
            try:
                head = next_head(head, line)
            except DataLossError as error:
                raise DataLossError(f"{where}: the line {error.message}") from error
            fields = fields_of(line)
            if torn_bytes and fields.get("tornBytes", 0) != torn_bytes:
                raise DataLossError(f"{where}: the file before it ends in the middle of a line")
            torn_bytes = 0
            first = first or head.sequence
            times = [times[0] or str(fields.get("time")), str(fields.get("time"))]
        torn_bytes = len(rest)
    if torn_bytes:
        raise DataLossError(f"{where}: {torn_bytes} bytes follow that are no whole line: the server has not gone on")
    if head is None:
        raise DataLossError("there is no line")
    return Verified(first, head, *times)


def _digest(previous: str, body: str) -> str:
    return hashlib.sha256(f"{previous}{body}".encode()).hexdigest()


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
