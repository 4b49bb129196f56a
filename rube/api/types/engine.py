"""The engine of rules, protovalidate, loaded when a message that has rules is judged first.

Its caches go by the names of messages and of files. Two versions of one type, or two files of one name, therefore need
two validators; types that share no name share one, since a validator takes a megabyte before it holds a rule.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor import Descriptor, FileDescriptor

if TYPE_CHECKING:
    from protovalidate import Validator

TYPES_MAX: Final = 64
"""Types that share a validator: it lives until the last of them is gone."""


class _Shared:
    """The validator that new types get, and the digest of each file that it may have compiled, also by the names in
    it."""

    def __init__(self) -> None:
        from protovalidate import Validator

        self.validator = Validator()
        self.names: dict[str, bytes] = {}
        self.types = 0

    def takes(self, names: dict[str, bytes]) -> bool:
        return self.types < TYPES_MAX and all(self.names.get(name, digest) == digest for name, digest in names.items())


_newest: list[_Shared] = []


def validator_for(message: Descriptor) -> Validator:
    """Returns a validator that has never seen another version of any message that can be in this one."""
    names: dict[str, bytes] = {}
    for file in _files(message.file):
        digest = hashlib.sha256(file.serialized_pb).digest()
        declared = (*file.message_types_by_name.values(), *file.enum_types_by_name.values())
        names |= {file.name: digest} | {each.full_name: digest for each in declared}
    if not _newest or not _newest[0].takes(names):
        _newest[:] = [_Shared()]
    shared = _newest[0]
    shared.names |= names
    shared.types += 1
    return shared.validator


def _files(file: FileDescriptor) -> tuple[FileDescriptor, ...]:
    found: dict[str, FileDescriptor] = {}
    waiting = [file]
    while waiting:
        each = waiting.pop()
        if each.name not in found:
            found[each.name] = each
            waiting += each.dependencies
    return tuple(found.values())
