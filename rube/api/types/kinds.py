"""The known types: the resources, and the messages that can be in an Any."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rube import api_pb2
from rube.api import (
    Binding,
    CoreEvent,
    Lease,
    Namespace,
    NamespaceStatus,
    Node,
    NodeStatus,
    Revocation,
    Role,
    Token,
    TokenStatus,
    Type,
    Unit,
    UnitStatus,
    auth_pb2,
    cluster_pb2,
    controller_pb2,
    core_pb2,
    events_pb2,
    memory_pb2,
    systemd_pb2,
    types_pb2,
)
from rube.api.errors import InvalidArgumentError
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey, is_name_of, type_of, validate_key, validate_names
from rube.api.spelling import quoted, suggestion

if TYPE_CHECKING:  # loaded where objects are judged
    from rube.api.types.rules import Rules

_ANY: Final = Any.DESCRIPTOR.full_name
# The modules of google.protobuf whose messages every program knows, as its JSON mapping does.
_WELL_KNOWN: Final = ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
# Known good pairs of type and namespace, with the beginning of their keys.
_PREFIXES_MAX = 4096


class Column(NamedTuple):
    """A column of a table of objects: its head, and the path of the field that it shows, such as `spec.schedule`."""

    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of resource: the message in an object's `spec`, and the one in its `status` (None: it has no status)."""

    spec: type[Message]
    status: type[Message] | None
    namespaced: bool
    columns: tuple[Column, ...] = ()
    short_names: tuple[str, ...] = ()
    messages: Mapping[str, Descriptor] = field(default_factory=dict)
    """The messages that came with a type that was pushed, by full name; empty for a type that is built in."""

    files: tuple[FileDescriptorProto, ...] = ()
    """The files of a type that was pushed, without comments and those that every server has."""
    source: bytes = b""
    """The api.Type, in deterministic bytes; empty for a type that is built in."""

    @property
    def name(self) -> str:
        return self.spec.DESCRIPTOR.full_name

    @property
    def rules(self) -> Rules:
        """The rules of its specs."""
        from rube.api.types.rules import rules_of

        return rules_of(self.spec)

    def words(self) -> tuple[str, ...]:
        """Returns what people call it: the last part of its name in lower case, and its short names."""
        return (self.name.rpartition(".")[2].lower(), *self.short_names)


class Types:
    """The types that a program knows: those that are built in, and those that were pushed to its cluster.

    A value: `with_kind` and `without` return others. Two clusters in one process have two.
    """

    def __init__(self, kinds: Iterable[Kind], messages: Mapping[str, Descriptor]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self.messages = messages
        self._classes: dict[str, type[Message]] = {}
        self._prefix = lru_cache(maxsize=_PREFIXES_MAX)(self._prefix_of)

    def with_kind(self, kind: Kind) -> Types:
        """Returns these types and that one, in the place of one of its name."""
        return Types([*(known for known in self._kinds.values() if known.name != kind.name), kind], self.messages)

    def without(self, type_name: str) -> Types:
        return Types((kind for kind in self._kinds.values() if kind.name != type_name), self.messages)

    def get(self, type_name: str) -> Kind | None:
        return self._kinds.get(type_name)

    def kinds(self) -> tuple[Kind, ...]:
        """Returns every type of resource, by name."""
        return tuple(self._kinds[name] for name in sorted(self._kinds))

    def kind(self, type_name: str) -> Kind:
        """Returns the type of resource of that full name. Raises InvalidArgumentError, with a suggestion, if there is
        none."""
        found = self.get(type_name)
        if found is None:
            raise InvalidArgumentError(
                f"{quoted(type_name)} is not a type of object; {suggestion(type_name, self._kinds)}", field="type"
            )
        return found

    def message_class(self, type_name: str) -> type[Message]:
        """Returns the class of a message of that full name, as used in an Any.

        Raises InvalidArgumentError, with the name that was probably meant, if no known type has it.
        """
        found = self._classes.get(type_name)
        if found is None:
            found = self._classes[type_name] = GetMessageClass(self._descriptor(type_name))
        return found

    def unpack(self, packed: Any) -> Message:
        """Returns the message in an Any. Raises InvalidArgumentError for an unknown type, and for bytes that do not
        parse as it."""
        return self.parse(type_of(packed), packed.value)

    def parse(self, type_name: str, value: bytes) -> Message:
        """Returns the message of that type; raises the errors of `unpack`."""
        try:
            return self.message_class(type_name).FromString(value)
        except DecodeError as error:
            raise InvalidArgumentError(
                f"the {len(value)} bytes given as {type_name} are not a {type_name}: {error}", type=type_name
            ) from error

    def canonical_any(self, packed: Any) -> Any:
        """Returns the same message with Rube's type URL and deterministic bytes: two such messages are equal if their
        bytes are.

        Fields that the type does not have are kept, so that an older server does not drop what a newer client wrote.
        Raises the errors of `unpack`.
        """
        return pack(self.unpack(packed))

    def validate_object_key(self, key: ObjectKey) -> None:
        """Raises InvalidArgumentError unless an object can have this key: a known type, its names, a namespace or
        none."""
        if self.get(key.type) is None:
            validate_key(key)
        namespaced = self.kind(key.type).namespaced
        validate_names(key)
        if namespaced and not key.namespace:
            raise InvalidArgumentError(
                f'{key.type} {key.name!r} has no metadata.namespace: set one, such as "default"',
                field="metadata.namespace",
            )
        if not namespaced and key.namespace:
            raise InvalidArgumentError(
                f"{key.type} {key.name!r} belongs to no namespace: leave metadata.namespace out",
                field="metadata.namespace",
            )

    def object_key_bytes(self, type_name: str, namespace: str, name: str) -> bytes:
        """Returns `ObjectKey.to_bytes` of a key that `validate_object_key` accepts; raises its errors.

        Writes call this for each object: a valid key costs one look-up and one regular expression.
        """
        prefix = self._prefix(type_name, namespace)
        if prefix is None or not is_name_of(type_name, name):
            key = ObjectKey(type_name, namespace, name)
            self.validate_object_key(key)
            return key.to_bytes()
        return prefix + name.encode()

    def _prefix_of(self, type_name: str, namespace: str) -> bytes | None:
        """Returns the beginning of the keys of a type's objects in a namespace (empty: of a type without namespaces);
        None if there are none."""
        kind = self.get(type_name)
        if kind is None or kind.namespaced != bool(namespace):
            return None
        if namespace and not is_name_of("", namespace):
            return None
        return f"{type_name}/{namespace}/".encode()

    def _descriptor(self, type_name: str) -> Descriptor:
        kind = self.get(type_name)
        if kind is not None:
            return cast(Descriptor, kind.spec.DESCRIPTOR)
        if (found := self.messages.get(type_name)) is not None:
            return found
        for name in sorted(self._kinds):
            if (found := self._kinds[name].messages.get(type_name)) is not None:
                return found
        if (found := _well_known(type_name)) is not None:
            return found
        near = suggestion(type_name, self.messages)
        remedy = near if near.startswith("did") else f"known: {', '.join(sorted(self._kinds))}"
        raise InvalidArgumentError(f"unknown type {quoted(type_name)}; {remedy}", field="type")


class AnyPool:
    """The messages of types, as protobuf's JSON mapping asks a descriptor pool for those in an Any."""

    def __init__(self, types: Types) -> None:
        self._types = types

    def FindMessageTypeByName(self, full_name: str) -> Descriptor:
        """Returns the message. Raises KeyError if no known type has it."""
        try:
            return cast(Descriptor, self._types.message_class(full_name).DESCRIPTOR)
        except InvalidArgumentError as error:
            raise KeyError(full_name) from error


def is_any(message: Message) -> bool:
    """Returns whether a message is a google.protobuf.Any. Those of pushed types have a class of their own."""
    return bool(message.DESCRIPTOR.full_name == _ANY)


def pack(message: Message) -> Any:
    """Returns an Any with Rube's type URL and deterministic bytes."""
    return Any(
        type_url=TYPE_URL_PREFIX + message.DESCRIPTOR.full_name,
        value=message.SerializeToString(deterministic=True),
    )


def _well_known(type_name: str) -> Descriptor | None:
    package, _, name = type_name.rpartition(".")
    if package == "google.protobuf":
        for each in _WELL_KNOWN:
            module = importlib.import_module(f"{package}.{each}_pb2")
            if (found := module.DESCRIPTOR.message_types_by_name.get(name)) is not None:
                return cast(Descriptor, found)
    return None


def messages_of(top: Iterable[Descriptor]) -> Iterator[tuple[str, Descriptor]]:
    """Yields messages and those within them, by full name, without the entries of maps."""
    for message in top:
        if not message.GetOptions().map_entry:
            yield message.full_name, message
            yield from messages_of(message.nested_types)


BUILTIN: Final = Types(
    [
        Kind(spec=Lease, status=None, namespaced=True),
        Kind(spec=Node, status=NodeStatus, namespaced=False),
        Kind(spec=Type, status=None, namespaced=False),
        Kind(spec=Unit, status=UnitStatus, namespaced=True),
        Kind(spec=Namespace, status=NamespaceStatus, namespaced=False),
        Kind(spec=CoreEvent, status=None, namespaced=True),
        Kind(spec=Role, status=None, namespaced=False),
        Kind(spec=Binding, status=None, namespaced=False),
        Kind(spec=Token, status=TokenStatus, namespaced=False),
        Kind(spec=Revocation, status=None, namespaced=False),
    ],
    {
        name: message
        for module in (
            api_pb2,
            auth_pb2,
            cluster_pb2,
            controller_pb2,
            core_pb2,
            events_pb2,
            memory_pb2,
            systemd_pb2,
            types_pb2,
        )
        for name, message in messages_of(module.DESCRIPTOR.message_types_by_name.values())
    },
)
"""The types that every program of Rube knows."""
