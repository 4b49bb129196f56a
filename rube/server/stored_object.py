"""An object in the parts that a write needs: metadata as a message, spec and status as stored bytes.

The stored form of an object is its deterministic serialization without the revisions, which the store keeps itself.
Protobuf writes fields in the order of their numbers, so it is the concatenation of its three fields, each of them tag,
length and bytes (https://protobuf.dev/programming-guides/encoding/). A write changes fields of the metadata and at most
one of the others, which it need not parse, copy and serialize: they are compared and passed on as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from google.protobuf.any_pb2 import Any

from rube.api import Metadata, Object
from rube.server.encoding import tag, varint
from rube.store import Record

if TYPE_CHECKING:
    from rube.server.specs import Spec

# The number of type URLs whose encoding is cached.
_TYPE_URLS_MAX: Final = 4096


Owners = Mapping[str, frozenset[str]]
"""The paths of each owner's fields (api.FieldOwners)."""


_METADATA: Final = tag(Object.METADATA_FIELD_NUMBER)
_SPEC: Final = tag(Object.SPEC_FIELD_NUMBER)
_STATUS: Final = tag(Object.STATUS_FIELD_NUMBER)
_TYPE_URL: Final = tag(Any.TYPE_URL_FIELD_NUMBER)
_VALUE: Final = tag(Any.VALUE_FIELD_NUMBER)


@dataclass(slots=True)
class StoredObject:
    """An object whose `spec` and `status` are whole fields of api.Object, tag included; `status` is empty without one.
    `owners` are those of its fields, which the store has under another key: None if none are kept, or none were read.

    Fields that a newer version of Rube may have stored after the status count as part of it. Never changed once made,
    apart from the metadata's revisions.
    """

    metadata: Metadata
    spec: bytes
    status: bytes = b""
    owners: Owners | None = None
    parsed: Spec | None = None
    """The spec, where a write has read it already."""

    def spec_any(self) -> Any:
        return Object.FromString(self.spec).spec

    def spec_value(self) -> bytes:
        """The serialized message in the spec."""
        return Object.FromString(self.spec).spec.value

    def status_any(self) -> Any | None:
        return Object.FromString(self.status).status if self.status else None


def decode_object(record: Record) -> StoredObject:
    """The object of a record, with its revisions."""
    value = record.value
    start, end = _field(value, 0, _METADATA)
    _, spec_end = _field(value, end, _SPEC)
    metadata = Metadata.FromString(value[start:end])
    set_revisions(metadata, record.create_revision, record.mod_revision)
    return StoredObject(metadata, value[end:spec_end], value[spec_end:])


def labels_of(record: Record) -> dict[str, str]:
    """The labels of a record's object: nothing else of it is parsed than its metadata."""
    start, end = _field(record.value, 0, _METADATA)
    return dict(Metadata.FromString(record.value[start:end]).labels)


def encode_object(obj: StoredObject) -> bytes:
    """The bytes to store. Clears the revisions in the object's metadata."""
    metadata = obj.metadata
    metadata.create_revision = 0
    metadata.revision = 0
    encoded = metadata.SerializeToString(deterministic=True)
    return b"".join((_METADATA, varint(len(encoded)), encoded, obj.spec, obj.status))


def set_revisions(metadata: Metadata, create_revision: int, revision: int) -> None:
    metadata.create_revision = create_revision
    metadata.revision = revision


def spec_field(type_url: str, value: bytes) -> bytes:
    """Returns the field `spec` of an object, with an Any of a type and of its message's bytes."""
    return _any_field(_SPEC, type_url, value)


def status_field(type_url: str, value: bytes) -> bytes:
    """Returns the field `status`, likewise."""
    return _any_field(_STATUS, type_url, value)


def _any_field(tag: bytes, type_url: str, value: bytes) -> bytes:
    content = b"".join((_any_head(type_url), _VALUE, varint(len(value)), value)) if value else _any_head(type_url)
    return b"".join((tag, varint(len(content)), content))


@lru_cache(maxsize=_TYPE_URLS_MAX)
def _any_head(type_url: str) -> bytes:
    url = type_url.encode()
    return b"".join((_TYPE_URL, varint(len(url)), url))


def _field(data: bytes, at: int, tag: bytes) -> tuple[int, int]:
    """Returns where the content of the field that begins at `at` begins and ends. The store's checksum vouches for
    it."""
    assert data[at] == tag[0], f"byte {at} of a stored object begins no field {tag[0] >> 3}"
    at += 1
    length = data[at]
    if length > 0x7F:
        length, shift = length & 0x7F, 7
        while True:
            at += 1
            length |= (data[at] & 0x7F) << shift
            if data[at] <= 0x7F:
                break
            shift += 7
    return at + 1, at + 1 + length
