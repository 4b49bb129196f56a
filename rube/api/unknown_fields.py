"""Fields that this build does not know, in a request and in the objects that it brings.

Those of a request are refused, since it must be carried out as a whole: a server that ignored what a newer client asks
for (`validate_only`, a condition, a filter) would do something else. Those of a spec or a status are refused unless the
client asks to keep them: nearly always they are a mistake, and nothing would ever read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from rube.api import Fence, Key, Precondition
from rube.api.errors import InvalidArgumentError

# The messages in a request that change its meaning.
_ASKING: Final = frozenset(message.DESCRIPTOR.full_name for message in (Precondition, Fence, Key))
_NAMED_MAX: Final = 5
# Kinds of requests whose fields are remembered.
_REQUESTS_MAX: Final = 64


def check_known(request: Message) -> None:
    """Raises InvalidArgumentError that names the numbers of unknown fields, in the request or in the messages that
    change its meaning."""
    _check(request, "")
    for name, is_repeated in _asking_fields(request.DESCRIPTOR):
        if is_repeated:
            for part in getattr(request, name):
                _check_part(part, f" in {name}")
        elif request.HasField(name):
            _check_part(getattr(request, name), f" in {name}")


@lru_cache(maxsize=_REQUESTS_MAX)
def _asking_fields(request: Descriptor) -> tuple[tuple[str, bool], ...]:
    """Returns the fields of a request that change its meaning, and which of them are repeated."""
    return tuple(
        (field.name, field.is_repeated)
        for field in request.fields
        if field.message_type is not None and field.message_type.full_name in _ASKING
    )


def unknown_fields(message: Message) -> list[tuple[str, int, str]]:
    """Returns the path of each message with unknown fields, the lowest number, and the message's full name: at most
    _NAMED_MAX of them."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    if known.ByteSize() == message.ByteSize():
        return []  # nearly always: a search visits each field
    return list(islice(_search(message, ""), _NAMED_MAX))


def merge_unknown_fields(source: Message, target: Message) -> None:
    """Sets in `target` the unknown fields of `source`, in the place of those of the same numbers; not those of messages
    within it."""
    if not len(UnknownFieldSet(source)):
        return
    numbers = {entry.field_number for entry in UnknownFieldSet(source)}  # type: ignore[attr-defined]
    kept = [raw for number, raw in _records(target.SerializePartialToString()) if number not in numbers]
    added = [raw for number, raw in _records(source.SerializePartialToString()) if number in numbers]
    target.Clear()
    target.MergeFromString(b"".join(kept + added))


def _records(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the fields of a message that was serialized, each with its number
    (https://protobuf.dev/programming-guides/encoding/)."""
    at = 0
    while at < len(raw):
        begin = at
        number, at = _skip_field(raw, at)
        yield number, raw[begin:at]


def _skip_field(raw: bytes, at: int) -> tuple[int, int]:
    """Returns the number of the field there, and where the next one begins."""
    tag, at = _varint(raw, at)
    match tag & 7:
        case 0:
            at = _varint(raw, at)[1]
        case 1:
            at += 8
        case 2:
            size, at = _varint(raw, at)
            at += size
        case 3:  # a group: fields up to the end of its number
            while _varint(raw, at)[0] != tag + 1:
                at = _skip_field(raw, at)[1]
            at = _varint(raw, at)[1]
        case 5:
            at += 4
    return tag >> 3, at


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while raw[at] & 0x80:
        value |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | raw[at] << shift, at + 1


def _search(message: Message, path: str) -> Iterator[tuple[str, int, str]]:
    if len(unknown := UnknownFieldSet(message)):
        yield path, min(each.field_number for each in unknown), message.DESCRIPTOR.full_name  # type: ignore[attr-defined]
    for field, value in message.ListFields():
        place = f"{path}.{field.name}" if path else field.name
        if field.message_type is None:
            continue
        if not field.is_repeated:
            yield from _search(value, place)
        elif isinstance(value, Mapping):
            for key in sorted(value):
                if isinstance(value[key], Message):
                    yield from _search(value[key], f"{place}[{key!r}]")
        else:
            for index, item in enumerate(value):
                yield from _search(item, f"{place}[{index}]")


def _check_part(part: Message, where: str) -> None:
    _check(part, where)
    if isinstance(part, Precondition) and part.HasField("key"):
        _check(part.key, f"{where}.key")


def _check(message: Message, where: str) -> None:
    unknown = UnknownFieldSet(message)
    if not len(unknown):
        return
    numbers = sorted({entry.field_number for entry in unknown})  # type: ignore[attr-defined]
    shown = ", ".join(map(str, numbers[:_NAMED_MAX])) + (", …" if len(numbers) > _NAMED_MAX else "")
    raise InvalidArgumentError(
        f"{message.DESCRIPTOR.full_name}{where} has fields that this server does not know (numbers {shown}): nothing "
        "was done; it is older than the client, or they are a mistake",
        field=shown,
    )
