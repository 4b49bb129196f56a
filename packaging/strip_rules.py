"""A set of descriptors without the options of buf.validate, and without the import of their file.

strip_rules.py IN OUT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

RULES = "buf/validate/validate.proto"
OPTION = 1159  # of (buf.validate.field), (buf.validate.message), (buf.validate.oneof)


def main() -> None:
    source, target = sys.argv[1:]
    found = FileDescriptorSet.FromString(Path(source).read_bytes())
    kept = FileDescriptorSet()
    for file in found.file:
        if file.name == RULES:
            continue
        if RULES in file.dependency:
            if file.public_dependency or file.weak_dependency:
                raise SystemExit(f"{file.name}: imports are counted by number, and {RULES} is one of them")
            file.dependency.remove(RULES)
        for field in file.extension:
            _strip_json_name(field)
        for message in _messages(file.message_type):
            for described in (message, *message.field, *message.oneof_decl):
                _strip(described)
            for field in (*message.field, *message.extension):
                _strip_json_name(field)
        kept.file.append(file)
    Path(target).write_bytes(kept.SerializeToString(deterministic=True))


def _messages(messages: list[DescriptorProto]) -> Iterator[DescriptorProto]:
    for message in messages:
        yield message
        yield from _messages(message.nested_type)


def _strip(described: DescriptorProto) -> None:
    """Clears the rules among the options. Others that this program does not know, such as (api.resource), stay."""
    kept = b"".join(each for number, each in _fields(described.options.SerializeToString()) if number != OPTION)
    described.ClearField("options")
    if kept:
        described.options.ParseFromString(kept)


def _strip_json_name(field: FieldDescriptorProto) -> None:
    """Clears a name that follows from the field's own: without a set of descriptors protoc leaves it out, too."""
    first, *rest = field.name.split("_")
    if field.json_name == first + "".join(part[:1].upper() + part[1:] for part in rest):
        field.ClearField("json_name")


def _fields(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the number of each field of an encoded message, and its bytes with the tag."""
    at = 0
    while at < len(encoded):
        begin = at
        tag, at = _varint(encoded, at)
        wire = tag & 7
        if wire == 0:
            _, at = _varint(encoded, at)
        elif wire == 2:
            size, at = _varint(encoded, at)
            at += size
        else:
            at += {1: 8, 5: 4}[wire]
        yield tag >> 3, encoded[begin:at]


def _varint(encoded: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = encoded[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


if __name__ == "__main__":
    main()
