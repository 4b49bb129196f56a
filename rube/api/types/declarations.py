"""Messages and enums that FileDescriptorProtos declare, found without recursion and counted before anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import quoted

MESSAGES_MAX: Final = 1000
ELEMENTS_MAX: Final = 10_000
"""A set's fields, oneofs, values, reserved ranges and names, imports and extensions, all together."""
DEPTH_MAX: Final = 32
"""Levels of messages in messages: the bound that protoc has."""
NAME_CHARS_MAX: Final = 128

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Declaration(NamedTuple):
    """A message or an enum, with its full name and its file's name."""

    name: str
    file: str
    proto: DescriptorProto | EnumDescriptorProto
    nested: bool = False


class Budget:
    """The messages and elements that the files of a set may still have."""

    def __init__(self) -> None:
        self._messages = MESSAGES_MAX
        self._elements = ELEMENTS_MAX

    def take(self, *, messages: int = 0, elements: int = 0) -> None:
        """Raises InvalidArgumentError once a set has more than `MESSAGES_MAX` or `ELEMENTS_MAX`."""
        self._messages -= messages
        self._elements -= elements
        if self._messages < 0:
            raise refusal(
                f"the files declare more than {MESSAGES_MAX} messages and enums: leave out the files that the type "
                "does not import"
            )
        if self._elements < 0:
            raise refusal(
                f"the files declare more than {ELEMENTS_MAX} fields, values, reserved ranges and imports: leave out "
                "the files that the type does not import"
            )


def refusal(text: str, *, file: str = "", symbol: str = "") -> InvalidArgumentError:
    """Returns the error about a set of files. `symbol` is the full name of the message, field or value at fault."""
    where = {"file": file, "symbol": symbol}
    shown = f"{file}: {text}" if file else text
    return InvalidArgumentError(shown, field="files", **{name: value for name, value in where.items() if value})


def text_of(value: str | bytes, what: str, file: str = "") -> str:
    """Returns a string of a descriptor; raises InvalidArgumentError if its bytes are not UTF-8."""
    if isinstance(value, bytes):  # so protobuf hands out a string of proto2 that is none
        raise refusal(f"{what} is not UTF-8 ({value[:40]!r}): compile the .proto files anew", file=file)
    return value


def identifier_of(value: str | bytes, what: str, file: str) -> str:
    """Returns the name of a declaration; raises InvalidArgumentError unless it is one."""
    name = text_of(value, f"the name of {what}", file)
    if not _IDENTIFIER.match(name) or len(name) > NAME_CHARS_MAX:
        raise refusal(
            f"{what} has the name {quoted(name)}: a name is 1 to {NAME_CHARS_MAX} letters, digits and underscores, "
            "and begins with no digit",
            file=file,
        )
    return name


def count(file: FileDescriptorProto, budget: Budget) -> None:
    """Takes a file's declarations from the budget, and raises InvalidArgumentError if messages are nested deeper than
    `DEPTH_MAX`.

    This reads no string, and visits no more than the budget has.
    """
    budget.take(elements=len(file.dependency) + len(file.public_dependency) + len(file.extension))
    level = list(_nested(file, budget))
    for _ in range(DEPTH_MAX):
        if not level:
            return
        level = [nested for message in level for nested in _nested(message, budget)]
    if level:
        raise refusal(f"messages are nested deeper than {DEPTH_MAX} levels: declare them side by side")


def _nested(scope: FileDescriptorProto | DescriptorProto, budget: Budget) -> Iterator[DescriptorProto]:
    messages = scope.message_type if isinstance(scope, FileDescriptorProto) else scope.nested_type
    budget.take(messages=len(messages) + len(scope.enum_type))
    for enum in scope.enum_type:
        budget.take(elements=len(enum.value) + len(enum.reserved_range) + len(enum.reserved_name))
    for message in messages:
        budget.take(
            elements=len(message.field)
            + len(message.oneof_decl)
            + len(message.extension)
            + len(message.extension_range)
            + len(message.reserved_range)
            + len(message.reserved_name)
        )
        yield message


def declarations(file: FileDescriptorProto) -> Iterator[Declaration]:
    """Yields the messages and enums of a file that `count` let through, outer ones first.

    Raises InvalidArgumentError for a name that is none.
    """
    package = f"{file.package}." if file.package else ""
    for enum in file.enum_type:
        yield Declaration(package + identifier_of(enum.name, "an enum", file.name), file.name, enum)
    pending = [(package, message) for message in reversed(file.message_type)]
    while pending:
        scope, message = pending.pop()
        inside = f"in {scope.rstrip('.') or 'the file'}"
        name = scope + identifier_of(message.name, f"a message {inside}", file.name)
        yield Declaration(name, file.name, message, scope != package)
        for enum in message.enum_type:
            enum_name = identifier_of(enum.name, f"an enum in {name}", file.name)
            yield Declaration(f"{name}.{enum_name}", file.name, enum, True)
        pending.extend((f"{name}.", nested) for nested in reversed(message.nested_type))
