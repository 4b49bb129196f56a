"""Stored bytes as they are sent: protobuf's encoding of what stands around a stored object, and after it.

A stored object has no revisions, since the store keeps them. A response adds them as a further occurrence of the field
`metadata`: parsers merge the occurrences of a message's field
(https://protobuf.dev/programming-guides/encoding/#last-one-wins), so what is stored is copied, and not parsed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from rube.api import (
    Bookmark,
    Event,
    GetResponse,
    ListResponse,
    Metadata,
    Object,
    WatchResponse,
)
from rube.store import Record

_VARINT: Final = 0
_LENGTH_DELIMITED: Final = 2
# The number of varints that are cached: lengths, and the newest revisions.
_VARINTS_MAX: Final = 4096


@lru_cache(maxsize=_VARINTS_MAX)
def varint(number: int) -> bytes:
    """Encodes a number: seven bits a byte, the lowest first, all bytes but the last with their highest bit set."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def tag(number: int, wire_type: int = _LENGTH_DELIMITED) -> bytes:
    assert number < 16, "its tag has one byte"
    return bytes([number << 3 | wire_type])


_METADATA: Final = tag(Object.METADATA_FIELD_NUMBER)
_CREATE_REVISION: Final = tag(Metadata.CREATE_REVISION_FIELD_NUMBER, _VARINT)
_REVISION: Final = tag(Metadata.REVISION_FIELD_NUMBER, _VARINT)

_EVENTS: Final = tag(WatchResponse.EVENTS_FIELD_NUMBER)
_UPDATE: Final = tag(Event.UPDATE_FIELD_NUMBER)
_DELETE: Final = tag(Event.DELETE_FIELD_NUMBER)
_WATCH_END: Final = (
    tag(WatchResponse.REVISION_FIELD_NUMBER, _VARINT),
    tag(WatchResponse.STORE_ID_FIELD_NUMBER),
)
_ITEMS: Final = tag(ListResponse.ITEMS_FIELD_NUMBER)
_OBJECT: Final = tag(GetResponse.OBJECT_FIELD_NUMBER)


def update_event(record: Record) -> bytes:
    """Returns the field `events` of a WatchResponse, with the update to that object."""
    return _event(_UPDATE, record, record.mod_revision)


def delete_event(previous: Record, revision: int) -> bytes:
    """Returns the same with the delete of that object at that revision."""
    return _event(_DELETE, previous, revision)


def bookmark_event(revision: int, *, initial_end: bool = False) -> bytes:
    """Returns the same with a bookmark."""
    mark = Event(bookmark=Bookmark(revision=revision, initial_end=initial_end))
    return WatchResponse(events=[mark]).SerializeToString()


def watch_response(events: bytes, revision: int, store_id: str) -> bytes:
    """Returns a WatchResponse with these fields `events`; revision 0: none."""
    revision_tag, store_id_tag = _WATCH_END
    text = store_id.encode()
    end = store_id_tag + varint(len(text)) + text
    return b"".join((events, revision_tag, varint(revision), end)) if revision else events + end


def list_item(record: Record) -> bytes:
    """Returns the field `items` of a ListResponse, with that object."""
    revisions = _revisions(record, record.mod_revision)
    return b"".join((_ITEMS, varint(len(record.value) + len(revisions)), record.value, revisions))


def get_object(record: Record) -> bytes:
    """Returns the field `object` of a GetResponse."""
    revisions = _revisions(record, record.mod_revision)
    return b"".join((_OBJECT, varint(len(record.value) + len(revisions)), record.value, revisions))


def _event(kind: bytes, record: Record, revision: int) -> bytes:
    revisions = _revisions(record, revision)
    object_bytes = len(record.value) + len(revisions)
    length = varint(object_bytes)
    event_length = varint(len(kind) + len(length) + object_bytes)
    return b"".join((_EVENTS, event_length, kind, length, record.value, revisions))


def _revisions(record: Record, revision: int) -> bytes:
    content = b"".join((_CREATE_REVISION, varint(record.create_revision), _REVISION, varint(revision)))
    return b"".join((_METADATA, varint(len(content)), content))
