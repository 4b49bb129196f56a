"""Keys: (type, namespace, name), and the bytes that order them in a store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import quoted

if TYPE_CHECKING:  # names are checked without protobuf
    from google.protobuf.any_pb2 import Any

    from rube.api import Key, Object

TYPE_URL_PREFIX = "rube/"
TYPE_TYPE: Final = "api.Type"
"""The type of types, whose objects are named by the full names of messages."""
is_name: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z").match
"""Matches RFC 1123's labels, as Kubernetes uses them."""
_TYPE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*\Z")
_TYPE_NAME_CHARS_MAX = 253
INTERNAL_PREFIX: Final = b"!"
"""Keys of a store that begin so hold no objects: fences, and what servers keep beside objects. No type begins so."""


class ObjectKey(NamedTuple):
    """An object's identity. `str()` is for users: `type/namespace/name`, without a namespace `type/name`."""

    type: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    def to_bytes(self) -> bytes:
        """Returns the key in a store: sorted as its parts are."""
        return f"{self.type}/{self.namespace}/{self.name}".encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> ObjectKey:
        type_name, namespace, name = raw.decode().split("/")
        return cls(type_name, namespace, name)

    def to_proto(self) -> Key:
        from rube.api import Key

        return Key(type=self.type, namespace=self.namespace, name=self.name)

    @classmethod
    def from_proto(cls, key: Key) -> ObjectKey:
        return cls(key.type, key.namespace, key.name)


def type_of(spec: Any) -> str:
    """Returns the full name of the message in an Any: `rube/api.systemd.Unit` gives `api.systemd.Unit`."""
    return spec.type_url.rpartition("/")[2]


def key_of(obj: Object) -> ObjectKey:
    metadata = obj.metadata
    return ObjectKey(type_of(obj.spec), metadata.namespace, metadata.name)


def prefix_bytes(type_name: str, namespace: str = "") -> bytes:
    """Returns the first bytes of the keys of a type, or of a type in one namespace."""
    return f"{type_name}/{namespace}/".encode() if namespace else f"{type_name}/".encode()


def prefix_end(prefix: bytes) -> bytes:
    """Returns the first key past all that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def validate_name(what: str, value: str) -> None:
    """Raises InvalidArgumentError unless `value` is a DNS label (RFC 1123)."""
    if not is_name(value):
        raise InvalidArgumentError(
            f"{what} {quoted(value)} is not a DNS label: use 1 to 63 of a-z, 0-9 and '-', "
            "beginning and ending with a letter or digit",
            field=what,
        )


def is_name_of(type_name: str, name: str) -> bool:
    """Returns whether an object of that type can have that name: a DNS label, or an api.Type's full name."""
    if type_name == TYPE_TYPE:
        return len(name) <= _TYPE_NAME_CHARS_MAX and _TYPE_NAME.match(name) is not None
    return is_name(name) is not None


def validate_name_of(type_name: str, what: str, name: str) -> None:
    """Raises InvalidArgumentError unless an object of that type can have that name."""
    if type_name != TYPE_TYPE:
        validate_name(what, name)
    elif not is_name_of(type_name, name):
        raise InvalidArgumentError(
            f"{what} {quoted(name)} is not a message's full name, such as acme.Backup, of at most "
            f"{_TYPE_NAME_CHARS_MAX} characters",
            field=what,
        )


def validate_key(key: ObjectKey) -> None:
    """Raises InvalidArgumentError for a key that no object can have."""
    if not key.type:
        raise InvalidArgumentError(
            f"object {key.name!r} has no type: set spec {{ [rube/api.systemd.Unit] {{ … }} }}, or name the type",
            field="type",
        )
    if not _TYPE_NAME.match(key.type):
        raise InvalidArgumentError(f"type {quoted(key.type)} is not a message's full name", field="type")
    validate_names(key)


def validate_names(key: ObjectKey) -> None:
    """Raises InvalidArgumentError for a name or namespace that no object can have."""
    if not key.name:
        raise InvalidArgumentError(f"object of type {key.type} has no metadata.name", field="metadata.name")
    validate_name_of(key.type, "metadata.name", key.name)
    if key.namespace:
        validate_name("metadata.namespace", key.namespace)
