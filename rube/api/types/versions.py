"""The order of two versions of a type: one that the other only adds to is the older one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from rube.api.types.evolution import Breakage, breakages
from rube.api.types.kinds import Kind


class Standing(Enum):
    """A version of a type beside the one that a cluster has."""

    SAME = auto()
    NEWER = auto()
    """It has more, and all that the cluster's has."""
    OLDER = auto()
    """The cluster's has more, and all that it has."""
    ANOTHER = auto()
    """Both have the same fields; names, rules, columns or other options differ. Nothing says which is newer."""
    BREAKING = auto()
    """Each has something that the other one would misread."""


class Comparison(NamedTuple):
    standing: Standing
    breakages: Sequence[Breakage] = ()
    """Those from the cluster's version to this one, if it is BREAKING."""


def compare(present: Kind, own: Kind) -> Comparison:
    """Returns how `own` stands to the version that is `present` in a cluster."""
    if _shape(present) == _shape(own):
        return Comparison(Standing.SAME)
    forth = [each for each in breakages(present, own) if not each.warning]
    back = [each for each in breakages(own, present) if not each.warning]
    if forth and back:
        return Comparison(Standing.BREAKING, forth)
    if forth:
        return Comparison(Standing.OLDER)
    return Comparison(Standing.NEWER if back else Standing.ANOTHER)


def _shape(kind: Kind) -> list[bytes]:
    """Returns a type's files without what compilers and folders add: names of files, JSON names, comments."""
    shapes = []
    for file in kind.files:
        bare = FileDescriptorProto.FromString(file.SerializeToString())
        for name in ("name", "dependency", "public_dependency", "source_code_info"):
            bare.ClearField(name)
        for field in _fields(bare.message_type):
            if field.json_name == _json_name(field.name):
                field.ClearField("json_name")
        shapes.append(bare.SerializeToString(deterministic=True))
    return sorted(shapes)


def _fields(messages: Sequence[DescriptorProto]) -> Iterator[FieldDescriptorProto]:
    for message in messages:
        yield from message.field
        yield from _fields(message.nested_type)


def _json_name(name: str) -> str:
    """Returns the JSON name that protoc gives a field."""
    head, *others = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in others)
