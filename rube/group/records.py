"""Records that a member keeps in its engine beside the state: their keys, and values under a checksum."""

from __future__ import annotations

import zlib
from typing import TypeVar

from google.protobuf.message import Message

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.host import EngineView, Write

_M = TypeVar("_M", bound=Message)

# The prefix of log entries, followed by their index: eight bytes of which the first is 0x80.
_LOG_BIT = 1 << 63
INDEX_MAX = (1 << 56) - 1

_PREFIX = b"\xffreplica/"
FORMAT_KEY = _PREFIX + b"format"
FORMAT = b"rube replica 1"
IDENTITY_KEY = _PREFIX + b"identity"
HARD_STATE_KEY = _PREFIX + b"hard_state"
APPLIED_KEY = _PREFIX + b"applied"
LOG_START_KEY = _PREFIX + b"log_start"
INSTALLING_KEY = _PREFIX + b"installing"
# Pairs of an arriving snapshot, by number; and the snapshot's name.
STAGED_PREFIX = b"\xfereplica/staged/"
STAGED_END = b"\xfereplica/staged0"

_CHECKSUM_BYTES = 4


def entry_key(index: int) -> bytes:
    return (_LOG_BIT | index).to_bytes(8, "big")


def index_of(key: bytes) -> int:
    return int.from_bytes(key, "big") & INDEX_MAX


def staged_key(number: int) -> bytes:
    return STAGED_PREFIX + number.to_bytes(8, "big")


def seal(key: bytes, message: Message) -> Write:
    """Returns the write of a message, behind a checksum over key and bytes."""
    data = message.SerializeToString(deterministic=True)
    return Write(key, zlib.crc32(key + data).to_bytes(_CHECKSUM_BYTES, "big") + data)


def unseal(key: bytes, sealed: bytes, kind: type[_M]) -> _M:
    """Returns the message. Raises DataLossError if the bytes don't match their checksum."""
    data = sealed[_CHECKSUM_BYTES:]
    if zlib.crc32(key + data).to_bytes(_CHECKSUM_BYTES, "big") != sealed[:_CHECKSUM_BYTES]:
        raise DataLossError(
            f"{_shown(key)} of this member is damaged: remove the member from its group (rube cluster remove), wipe "
            "its disk and let it join again"
        )
    return kind.FromString(data)


def read(engine: EngineView, key: bytes, kind: type[_M]) -> _M | None:
    """Returns the message under the key; None if there is none. Raises DataLossError."""
    sealed = engine.get(key)
    return None if sealed is None else unseal(key, sealed, kind)


def check_format(engine: EngineView) -> bool:
    """Returns whether a member's data is there. Raises FailedPreconditionError for a format that this version does not
    know."""
    stored = engine.get(FORMAT_KEY)
    if stored is not None and stored != FORMAT:
        raise FailedPreconditionError(
            f"the member's data has format {stored!r} and this program knows {FORMAT!r}: use the version of Rube that "
            "wrote it, or let the member join again with an empty disk"
        )
    return stored is not None


def check_whole(engine: EngineView) -> None:
    """Raises FailedPreconditionError while a snapshot is being installed: the state is incomplete then."""
    if engine.get(INSTALLING_KEY) is not None:
        raise FailedPreconditionError(
            "this member is installing a snapshot, or ended while it did, so that only a part of the state is here: "
            "let the member run until it has finished, or read another member's"
        )


def _shown(key: bytes) -> str:
    if len(key) == 8 and key[0] & 0x80:
        return f"entry {index_of(key)} of the log"
    return key.removeprefix(_PREFIX).decode("ascii", "backslashreplace")
