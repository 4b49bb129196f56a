"""Files of types that are too large or damaged are refused, in bounded time, or loaded."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from google.protobuf import json_format, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from rube.api.errors import InvalidArgumentError
from rube.api.types.declarations import DEPTH_MAX, ELEMENTS_MAX, MESSAGES_MAX
from rube.api.types.files import FILES_MAX, SET_BYTES_MAX, load
from tests.unit.api.type_files import backup, file

BACKUP_BYTES = backup().SerializeToString()


def nested(depth: int) -> FileDescriptorSet:
    found = FileDescriptorSet(file=[file()])
    message = found.file[0].message_type[0]
    for _ in range(depth):
        message = message.nested_type.add(name="M")
    return found


def wide(messages: int) -> FileDescriptorSet:
    found = FileDescriptorSet(file=[file()])
    for index in range(messages):
        found.file[0].message_type.add(name=f"M{index}")
    return found


def with_reserved(ranges: int) -> FileDescriptorSet:
    found = FileDescriptorSet(file=[file()])
    for index in range(ranges):
        found.file[0].message_type[0].reserved_range.add(start=2 * index + 9, end=2 * index + 10)
    return found


def with_comment(size: int) -> FileDescriptorSet:
    found = FileDescriptorSet(file=[file()])
    found.file[0].source_code_info.location.add(leading_comments="x" * size)
    return found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (nested(DEPTH_MAX), f"nested deeper than {DEPTH_MAX} levels"),
        (nested(10_000), f"nested deeper than {DEPTH_MAX} levels"),
        (nested(300_000), f"nested deeper than {DEPTH_MAX} levels"),  # its ByteSize() overflows the stack
        (wide(100_000), f"more than {MESSAGES_MAX} messages"),
        (with_reserved(1_000_000), f"more than {ELEMENTS_MAX} fields"),
        (FileDescriptorSet(file=[file('dependency: "x"' * (ELEMENTS_MAX + 1))]), f"more than {ELEMENTS_MAX} fields"),
        (FileDescriptorSet(file=[file()] * (FILES_MAX + 1)), f"more than {FILES_MAX}"),
        (with_comment(10_000_000), f"more than {SET_BYTES_MAX}"),
    ],
    ids=["deep", "deeper", "deepest", "messages", "ranges", "imports", "files", "bytes"],
)
def test_sets_beyond_the_bounds_are_refused_before_they_are_read(given: FileDescriptorSet, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        load(given, root="acme.Backup")


def test_a_set_at_the_bounds_is_loaded() -> None:
    assert len(load(nested(DEPTH_MAX - 1), root="acme.Backup").messages) == DEPTH_MAX
    assert len(load(wide(MESSAGES_MAX - 1), root="acme.Backup").messages) == MESSAGES_MAX
    assert load(with_reserved(ELEMENTS_MAX - 1), root="acme.Backup").messages


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_bytes_are_refused_or_loaded(seed: int) -> None:
    chance = Random(seed)
    damaged = BACKUP_BYTES
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(damaged))
        damaged = damaged[:start] + chance.randbytes(chance.randint(0, 3)) + damaged[start + chance.randint(0, 3) :]
    try:
        given = FileDescriptorSet.FromString(damaged)
    except DecodeError:
        return  # no server gets as far as `load`
    loads_or_refuses(given)


def loads_or_refuses(given: FileDescriptorSet) -> None:
    try:
        loaded = load(given, root="acme.Backup", status="acme.BackupStatus")
    except InvalidArgumentError:
        return
    for name in loaded.messages:
        message = loaded.message_class(name)()
        assert message.SerializeToString() == b""
        assert json_format.MessageToDict(message, always_print_fields_with_no_presence=True) is not None
        assert text_format.Parse(text_format.MessageToString(message), message) is message


ODD_NUMBERS = [-(2**31), -1, 0, 1, 2, 5, 19_000, 2**29 - 1, 2**29, 2**31 - 1]
ODD_TEXTS = [
    "",
    "acme",
    "Backup",
    ".acme.Backup",
    "backup.proto",
    "targets.proto",
    "at",
    "api",
    "Step",
    "é",
    "a.b",
    "\0",
]
ODD: dict[int, list[Any]] = {
    FieldDescriptor.CPPTYPE_STRING: ODD_TEXTS,
    FieldDescriptor.CPPTYPE_INT32: ODD_NUMBERS,
    FieldDescriptor.CPPTYPE_BOOL: [True, False],
}


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_changed_declarations_are_refused_or_loaded(seed: int) -> None:
    chance = Random(seed)
    given = FileDescriptorSet.FromString(BACKUP_BYTES)
    for _ in range(chance.randint(1, 4)):
        change(given, chance)
    loads_or_refuses(given)


def change(given: FileDescriptorSet, chance: Random) -> None:
    """Sets, clears, copies or removes one part of one declaration of the last two files."""
    message: Message = chance.choice(list(given.file[-2:]) or [given.file.add()])
    for _ in range(chance.randint(0, 4)):
        inner = [
            each
            for descriptor, value in message.ListFields()
            if descriptor.message_type is not None
            for each in (value if descriptor.is_repeated else [value])
        ]
        if not inner:
            break
        message = chance.choice(inner)
    field: Any = chance.choice(list(message.DESCRIPTOR.fields))
    if field.is_repeated:
        values = getattr(message, field.name)
        action = chance.choice(["clear", "copy", "remove"])
        if action == "clear" or not values:
            message.ClearField(field.name)
        elif action == "copy":
            values.append(chance.choice(list(values)))
        else:
            del values[chance.randrange(len(values))]
    elif field.message_type is not None:
        getattr(message, field.name).SetInParent()
    elif field.enum_type is not None:
        setattr(message, field.name, chance.choice([each.number for each in field.enum_type.values]))
    elif field.cpp_type in ODD:
        setattr(message, field.name, chance.choice(ODD[field.cpp_type]))
