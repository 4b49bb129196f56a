"""The known types: the messages that can be in an Any, and the resource types among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rube import api_pb2
from rube.api import Lease, Node, NodeStatus, Unit, UnitStatus, cluster_pb2, controller_pb2, memory_pb2, systemd_pb2
from rube.api.errors import InvalidArgumentError
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey, is_name, type_of, validate_key, validate_names
from rube.api.spelling import quoted, suggestion

__all__ = [
    "Kind",
    "canonical_any",
    "canonical_bytes",
    "kind",
    "kinds",
    "message_class",
    "object_key_bytes",
    "pack",
    "unpack",
    "validate_object_key",
]

# Known good pairs of type and namespace, with the beginning of their keys.
_PREFIXES_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of resource: the message in an object's `spec`, and the one in its `status` (None: it has no status)."""

    spec: type[Message]
    status: type[Message] | None
    namespaced: bool

    @property
    def name(self) -> str:
        return self.spec.DESCRIPTOR.full_name


_KINDS: Final = {
    found.name: found
    for found in (
        Kind(spec=Lease, status=None, namespaced=True),
        Kind(spec=Node, status=NodeStatus, namespaced=False),
        Kind(spec=Unit, status=UnitStatus, namespaced=True),
    )
}
_FILES: Final = tuple(module.DESCRIPTOR for module in (api_pb2, cluster_pb2, controller_pb2, memory_pb2, systemd_pb2))


def kinds() -> tuple[Kind, ...]:
    """Returns every type of resource, by name."""
    return tuple(_KINDS[name] for name in sorted(_KINDS))


def kind(type_name: str) -> Kind:
    """Returns the type of resource of that full name. Raises InvalidArgumentError, with a suggestion, if there is
    none."""
    found = _KINDS.get(type_name)
    if found is None:
        raise InvalidArgumentError(
            f"{quoted(type_name)} is not a type of object; {suggestion(type_name, _KINDS)}", field="type"
        )
    return found


@cache
def message_class(type_name: str) -> type[Message]:
    """Returns the class of a message of that full name, as used in an Any.

    Raises InvalidArgumentError, with the name that was probably meant, if Rube does not know it.
    """
    descriptor = _messages().get(type_name)
    if descriptor is None:
        near = suggestion(type_name, _messages())
        remedy = near if near.startswith("did") else f"known: {', '.join(sorted(_KINDS))}"
        raise InvalidArgumentError(f"unknown type {quoted(type_name)}; {remedy}", field="type")
    return GetMessageClass(descriptor)


def pack(message: Message) -> Any:
    """Returns an Any with Rube's type URL and deterministic bytes."""
    return Any(
        type_url=TYPE_URL_PREFIX + message.DESCRIPTOR.full_name,
        value=message.SerializeToString(deterministic=True),
    )


def unpack(packed: Any) -> Message:
    """Returns the message in an Any. Raises InvalidArgumentError for an unknown type, and for bytes that do not parse
    as it."""
    type_name, value = type_of(packed), packed.value
    try:
        return message_class(type_name).FromString(value)
    except DecodeError as error:
        raise _undecodable(type_name, value, error) from error


def _undecodable(type_name: str, value: bytes, error: DecodeError) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the {len(value)} bytes given as {type_name} are not a {type_name}: {error}", type=type_name
    )


def canonical_any(packed: Any) -> Any:
    """Returns the same message with Rube's type URL and deterministic bytes: two such messages are equal if their bytes
    are.

    Fields that this build does not know are kept, so that an older server does not drop what a newer client wrote.
    Raises the errors of `unpack`.
    """
    type_name = type_of(packed)
    return Any(type_url=TYPE_URL_PREFIX + type_name, value=canonical_bytes(type_name, packed.value))


def canonical_bytes(type_name: str, value: bytes) -> bytes:
    """Returns the same message of that type in deterministic bytes, as `canonical_any` does."""
    try:
        return message_class(type_name).FromString(value).SerializeToString(deterministic=True)
    except DecodeError as error:
        raise _undecodable(type_name, value, error) from error


def validate_object_key(key: ObjectKey) -> None:
    """Raises InvalidArgumentError unless an object can have this key: a known type, its names, a namespace or none."""
    if key.type not in _KINDS:
        validate_key(key)
    namespaced = kind(key.type).namespaced
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


def object_key_bytes(type_name: str, namespace: str, name: str) -> bytes:
    """Returns `ObjectKey.to_bytes` of a key that `validate_object_key` accepts; raises its errors.

    Writes call this for each object: a valid key costs one look-up and one regular expression.
    """
    prefix = _object_prefix(type_name, namespace)
    if prefix is None or not is_name(name):
        key = ObjectKey(type_name, namespace, name)
        validate_object_key(key)
        return key.to_bytes()
    return prefix + name.encode()


@lru_cache(maxsize=_PREFIXES_MAX)
def _object_prefix(type_name: str, namespace: str) -> bytes | None:
    """Returns the beginning of the keys of a type's objects in a namespace (empty: of a type without namespaces); None
    if there are none."""
    try:
        validate_object_key(ObjectKey(type_name, namespace, "any"))
    except InvalidArgumentError:
        return None
    return f"{type_name}/{namespace}/".encode()


@cache
def _messages() -> dict[str, Descriptor]:
    top = [message for file in _FILES for message in file.message_types_by_name.values()]
    return {message.full_name: message for message in _nested(top)}


def _nested(messages: list[Descriptor]) -> Iterator[Descriptor]:
    for message in messages:
        if not message.GetOptions().map_entry:
            yield message
            yield from _nested(list(message.nested_types))
