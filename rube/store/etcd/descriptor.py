"""The descriptor of a store: its format, its id, and whether a copy into it has ended."""

from __future__ import annotations

from typing import NamedTuple

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.store.etcd.kv_pb2 import KeyValue

FORMAT = "rube etcd 2"
# The format of stores whose values have no checksums.
_OLDER_FORMAT = "rube etcd 1"
READY = "ready"
LOADING = "loading"
STORE_ID_DIGITS = 32


class StoreDescriptor(NamedTuple):
    """The content of `PREFIX/m/store`: three lines of text. Its `mod_revision` is a fence."""

    store_id: str
    state: str
    mod_revision: int


def encode_descriptor(store_id: str, state: str) -> bytes:
    return f"{FORMAT}\n{store_id}\n{state}\n".encode()


def decode_descriptor(kv: KeyValue, place: str) -> StoreDescriptor:
    """Returns the descriptor. Raises FailedPreconditionError for another format, DataLossError for a damaged one."""
    lines = kv.value.decode("utf-8", "replace").split("\n")
    if lines[0] == _OLDER_FORMAT:
        raise FailedPreconditionError(
            f"store {place} has format {_OLDER_FORMAT!r}, without checksums, and this program knows {FORMAT!r}: "
            "back it up with the version of Rube that wrote it (rube store backup), and restore it into another prefix"
        )
    if lines[0] != FORMAT and lines[0].startswith("rube etcd "):
        raise FailedPreconditionError(
            f"store {place} has format {lines[0]!r} and this program knows {FORMAT!r}: "
            "use the version of Rube that wrote it, or restore a backup into another prefix"
        )
    if lines[0] != FORMAT or len(lines) != 4 or len(lines[1]) != STORE_ID_DIGITS or lines[2] not in (READY, LOADING):
        raise DataLossError(
            f"{kv.key.decode('utf-8', 'replace')} of store {place} is damaged: restore a backup into another prefix"
        )
    return StoreDescriptor(lines[1], lines[2], kv.mod_revision)


def check_ready(descriptor: StoreDescriptor, place: str) -> None:
    """Raises FailedPreconditionError while a copy into the store has not ended."""
    if descriptor.state == LOADING:
        raise FailedPreconditionError(f"a copy into store {place} was interrupted or is under way: restore again")
