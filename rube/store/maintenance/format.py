"""The backup file: a preamble, then frames: a header, the records, a footer. Pure: bytes in, bytes out.

Each frame carries a mark, its length and two checksums, so that damage costs the frames that it hits and no more: the
mark leads to the next frame. docs/decisions/backup-format.md has the reasons.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.store.backends import Damage
from rube.store.maintenance import backup_pb2
from rube.store.mvcc.evaluate import KEY_BYTES_MAX
from rube.store.ports import Record

MAGIC = b"RUBEBACK"
FORMAT_VERSION = 1
# Magic and version.
_PREAMBLE = struct.Struct(">8sI")
_MARK = b"\xf5rb\n"
# A frame's header: mark, kind, bytes of the body, checksum of the body, checksum of the frame's place in the file and
# of the header up to here. So bytes of a value that look like a frame are not taken for one.
_FRAME = struct.Struct(">4scIII")
_SUMMED_BYTES = _FRAME.size - 4
_HEADER, _RECORD, _FOOTER = b"H", b"R", b"F"
FRAME_BYTES_MAX = 64 * 1024 * 1024
"""No store takes values of so many bytes: a longer frame is a damaged one. A reader holds one frame."""
STORE_ID_CHARACTERS_MAX = 128
"""No store has a longer id; it is shown to users."""


class BackupHeader(NamedTuple):
    """The store and the revision of a backup."""

    store_id: str
    revision: int


class BackupEnd(NamedTuple):
    """The item that confirms a complete file."""

    records: int


class Encoder:
    """Writes one backup. Append each returned value to the file, in the order of the calls."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._offset = 0
        self._records = 0

    def start(self, header: BackupHeader) -> bytes:
        message = backup_pb2.Header(store_id=header.store_id, revision=header.revision)
        preamble = self._add(_PREAMBLE.pack(MAGIC, FORMAT_VERSION))
        return preamble + self._frame(_HEADER, message)

    def records(self, records: Iterable[Record]) -> bytes:
        """Returns the frames of records, which come in the order of their keys."""
        frames = []
        for key, value, create_revision, mod_revision in records:
            message = backup_pb2.Record(
                key=key, value=value, create_revision=create_revision, mod_revision=mod_revision
            )
            frames.append(self._frame(_RECORD, message))
        self._records += len(frames)
        return b"".join(frames)

    def finish(self) -> bytes:
        message = backup_pb2.Footer(records=self._records, sha256=self._sha256.digest())
        return self._frame(_FOOTER, message)

    def _frame(self, kind: bytes, message: Message) -> bytes:
        body = message.SerializeToString(deterministic=True)
        start = _FRAME.pack(_MARK, kind, len(body), zlib.crc32(body), 0)[:_SUMMED_BYTES]
        return self._add(b"".join((start, _start_sum(self._offset, start).to_bytes(4, "big"), body)))

    def _add(self, data: bytes) -> bytes:
        self._sha256.update(data)
        self._offset += len(data)
        return data


def _start_sum(offset: int, start: bytes | bytearray) -> int:
    return zlib.crc32(start, zlib.crc32(offset.to_bytes(8, "big")))


Item = BackupHeader | Record | Damage | BackupEnd


class Decoder:
    """Reads one backup: `feed` it the file's bytes, piece by piece, then call `end`.

    Yields a header, the records and an end; among them the damage, past which it goes on. A file without any damage
    yields a header first and an end last. Holds one frame at most.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._data = bytearray()
        # The offset in the file of the first byte of `_data`.
        self._offset = 0
        self._begun = False
        self._header: BackupHeader | None = None
        self._records = 0
        self._last_key = b""
        self._sha256 = hashlib.sha256()
        # The offset at which bytes without a frame begin; -1 after a sound frame.
        self._lost_from = -1
        self._damaged = False
        self._ended = False

    def feed(self, data: bytes) -> Iterator[Item]:
        """Yields the items that those bytes complete. Raises FailedPreconditionError if it is no backup, or of another
        version."""
        self._data += data
        if not self._begun and not self._begin():
            return
        while (frame := self._next_frame()) is not None:
            kind, body, whole = frame
            yield from self._found()
            yield from self._item(kind, body, whole)
            if kind == _FOOTER:
                self._ended = True
            else:
                self._sha256.update(self._data[: _FRAME.size + len(body)])
            self._drop(_FRAME.size + len(body))

    def end(self) -> Iterator[Item]:
        """Yields the items that the end of the file completes."""
        if not self._begun:
            raise self._no_backup()
        if self._data and self._lost_from < 0:
            self._lost_from = self._offset
        self._drop(len(self._data))
        if self._ended:
            yield from self._found()
        else:
            start = self._offset if self._lost_from < 0 else self._lost_from
            yield self._wrong(f"byte {start}", "no more records and no footer from here on: it was cut short")

    def _begin(self) -> bool:
        """Returns whether the preamble is there; it is dropped."""
        if not MAGIC.startswith(self._data[: len(MAGIC)]):
            raise self._no_backup()
        if len(self._data) < _PREAMBLE.size:
            return False
        _, version = _PREAMBLE.unpack_from(self._data)
        if version != FORMAT_VERSION:
            raise FailedPreconditionError(
                f"{self._name} is a backup of format {version} and this program knows {FORMAT_VERSION}: "
                "use the version of Rube that wrote it"
            )
        self._sha256.update(self._data[: _PREAMBLE.size])
        self._drop(_PREAMBLE.size)
        self._begun = True
        return True

    def _next_frame(self) -> tuple[bytes, bytes, bool] | None:
        """Returns kind and body of the next frame, and whether the body is whole; None: feed more."""
        while len(self._data) >= _FRAME.size:
            mark, kind, length, body_sum, start_sum = _FRAME.unpack_from(self._data)
            expected_sum = _start_sum(self._offset, self._data[:_SUMMED_BYTES])
            if mark == _MARK and start_sum == expected_sum and length <= FRAME_BYTES_MAX:
                if len(self._data) < _FRAME.size + length:
                    return None
                body = bytes(self._data[_FRAME.size : _FRAME.size + length])
                return kind, body, zlib.crc32(body) == body_sum
            if self._lost_from < 0:
                self._lost_from = self._offset
            place = self._data.find(_MARK, 1)
            self._drop(place if place > 0 else len(self._data) - len(_MARK) + 1)
        return None

    def _item(self, kind: bytes, body: bytes, whole: bool) -> Iterator[Item]:
        where = f"byte {self._offset}"
        if kind == _RECORD:
            self._records += 1
            where = f"record {self._records} at byte {self._offset}"
        try:
            if not whole:
                yield self._wrong(where + _key_in(kind, body), "does not match its checksum")
            elif self._ended:
                yield self._wrong(where, "comes after the backup's end")
            elif kind != _HEADER and self._header is None and not self._damaged:
                yield self._wrong(where, "is in the place of the backup's header")
            elif kind == _RECORD:
                yield from self._record(where, body)
            elif kind == _FOOTER:
                yield from self._footer(where, backup_pb2.Footer.FromString(body))
            elif kind == _HEADER and self._header is None:
                yield self._head(where, backup_pb2.Header.FromString(body))
            else:
                yield self._wrong(where, f"is a frame of the kind {kind!r}, which does not belong there")
        except DecodeError:
            yield self._wrong(where, "is no protobuf message")

    def _head(self, where: str, header: backup_pb2.Header) -> Item:
        store_id = header.store_id
        if len(store_id) > STORE_ID_CHARACTERS_MAX or not (store_id.isascii() and store_id.isprintable()):
            return self._wrong(where, "has a store id that no store has")
        self._header = BackupHeader(store_id, header.revision)
        return self._header

    def _record(self, where: str, body: bytes) -> Iterator[Item]:
        message = backup_pb2.Record.FromString(body)
        record = Record(message.key, message.value, message.create_revision, message.mod_revision)
        newest = self._header.revision if self._header else record.mod_revision
        possible = 0 < record.create_revision <= record.mod_revision <= newest
        if not possible or record.key <= self._last_key or len(record.key) > KEY_BYTES_MAX:
            yield self._wrong(f"{where}, key {record.key[:256]!r}", "has revisions or a key that cannot be there")
            return
        self._last_key = record.key
        yield record

    def _footer(self, where: str, footer: backup_pb2.Footer) -> Iterator[Item]:
        if footer.records != self._records:
            yield self._wrong(where, f"the backup has {footer.records} records, and {self._records} are here")
        elif not self._damaged and footer.sha256 != self._sha256.digest():
            yield self._wrong(where, "the checksum of the whole file does not match")
        if not self._damaged:
            yield BackupEnd(self._records)

    def _found(self) -> Iterator[Damage]:
        """Yields the damage that ends at a frame or at the end of the file."""
        if self._lost_from >= 0:
            start, self._lost_from = self._lost_from, -1
            yield self._wrong(f"bytes {start} to {self._offset}", "cannot be read")

    def _wrong(self, where: str, what: str) -> Damage:
        self._damaged = True
        return Damage(where, what)

    def _drop(self, count: int) -> None:
        del self._data[:count]
        self._offset += count

    def _no_backup(self) -> FailedPreconditionError:
        return FailedPreconditionError(
            f"{self._name} is no backup: name a file that `rube store backup` wrote, or a store by its URL"
        )


def _key_in(kind: bytes, body: bytes) -> str:
    """Returns the apparent key of a damaged record."""
    if kind != _RECORD:
        return ""
    try:
        return f", key {backup_pb2.Record.FromString(body).key[:256]!r}"
    except DecodeError:
        return ""


def loss(name: str, damage: Damage) -> DataLossError:
    """Returns the error of a caller that cannot go on after damage."""
    return DataLossError(f"{name} is damaged: {damage.where}: {damage.what}; use another backup")
