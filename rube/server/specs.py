"""Specs in canonical form, remembered: the same one is put again and again, and in many objects at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from google.protobuf.message import Message

from rube.api.keys import TYPE_URL_PREFIX
from rube.api.types import Types
from rube.server.stored_object import spec_field

SPECS_MAX: Final = 1_024
SPEC_BYTES_MAX: Final = 8 * 1024
"""So many specs are remembered, none larger than that."""


class Spec(NamedTuple):
    """A spec of one type. Its message is never changed, since many writes may share it."""

    type_name: str
    message: Message
    value: bytes
    """The message's deterministic bytes: two specs are equal if theirs are."""
    field: bytes
    """The field `spec` of an object with that value."""
    has_unknown: bool
    """There are fields that the type does not have. They are kept, so that an older server does not drop what a newer
    client wrote."""


def read_spec(types: Types, type_name: str, value: bytes) -> Spec:
    """Returns the spec of these bytes. Raises the errors of `Types.parse`."""
    return _remembered(types, type_name, value) if len(value) <= SPEC_BYTES_MAX else _read(types, type_name, value)


def _read(types: Types, type_name: str, value: bytes) -> Spec:
    return spec_of(types.parse(type_name, value))


_remembered = lru_cache(maxsize=SPECS_MAX)(_read)


def spec_of(message: Message) -> Spec:
    """Returns the spec of a message, which is the spec's from now on."""
    type_name, value = message.DESCRIPTOR.full_name, message.SerializeToString(deterministic=True)
    message.DiscardUnknownFields()
    has_unknown = message.ByteSize() != len(value)  # nearly never: a copy to compare with would cost more
    if has_unknown:
        message.ParseFromString(value)
    return Spec(type_name, message, value, spec_field(TYPE_URL_PREFIX + type_name, value), has_unknown)
