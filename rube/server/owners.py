"""The owners of an object's fields: which paths each has, and what a write makes of them.

They are kept from the first Apply on, under a key of their own beside the object, in the same transaction. Until then
every field is that of `put`. Invariants of what is kept: each field that is set has an owner; no owner has a field that
is not set; and whoever owns a field also owns that the messages around it are set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError

from rube.api import FieldOwner, FieldOwners, Metadata
from rube.api.errors import DataLossError, InvalidArgumentError
from rube.api.fields import Values, field_values
from rube.api.keys import INTERNAL_PREFIX
from rube.api.spelling import quoted
from rube.api.types import Types
from rube.server.stored_object import Owners, StoredObject

DEFAULT_OWNER: Final = "put"
"""Has the fields of writes that name no owner."""
# Values of owners whose parsed form is kept.
_PARSED_MAX: Final = 512
OWNER_CHARS_MAX: Final = 128
METADATA_FIELDS: Final = ("labels", "annotations", "finalizers", "owner_references")
"""The fields of the metadata that users write."""
_PREFIX: Final = INTERNAL_PREFIX + b"owners/"


def owners_key(key: bytes) -> bytes:
    """Returns the key under which the store keeps the owners of the object's fields."""
    return _PREFIX + key


def object_of_owners_key(key: bytes) -> bytes | None:
    """Reverses `owners_key`; None for any other key."""
    return key.removeprefix(_PREFIX) if key.startswith(_PREFIX) else None


def check_owner(owner: str) -> str:
    """Returns the owner's name, which is `put` where none is given. Raises InvalidArgumentError for a bad one."""
    if not owner:
        return DEFAULT_OWNER
    if len(owner) > OWNER_CHARS_MAX or not owner.isprintable() or owner.split() != [owner]:
        raise InvalidArgumentError(
            f"owner {quoted(owner)} is no name: use 1 to {OWNER_CHARS_MAX} printable characters without spaces",
            field="owner",
        )
    return owner


def encode_owners(owners: Owners) -> bytes:
    return owners_message(owners).SerializeToString(deterministic=True)


def owners_message(owners: Owners) -> FieldOwners:
    return FieldOwners(items=[FieldOwner(owner=owner, fields=sorted(owners[owner])) for owner in sorted(owners)])


def decode_owners(key: bytes, value: bytes) -> Owners:
    """Reverses `encode_owners`. Raises DataLossError that names the object's key."""
    try:
        return _parsed(value)
    except DecodeError as error:
        raise DataLossError(f"the stored field owners of {key.decode()} do not parse") from error


@lru_cache(maxsize=_PARSED_MAX)
def _parsed(value: bytes) -> Owners:
    # An owner that applies again and again finds the same bytes, and so does an apply of the next of many alike.
    return {item.owner: frozenset(item.fields) for item in FieldOwners.FromString(value).items}


def object_values(types: Types, obj: StoredObject) -> Values:
    """Returns the values of all fields that have owners, by path below Object."""
    return metadata_values(obj.metadata) | field_values(types.unpack(obj.spec_any()), "spec.")


def metadata_values(metadata: Metadata) -> Values:
    """Returns the values of the metadata's fields that have owners."""
    return field_values(metadata, "metadata.", names=METADATA_FIELDS)


def known_owners(obj: StoredObject, values: Values) -> Owners:
    """Returns the owners of the object's fields, which has these values: `put` has all where none are kept."""
    if obj.metadata.field_owners and obj.owners is not None:
        return obj.owners
    return {DEFAULT_OWNER: frozenset(values)} if values else {}


def owners_after(types: Types, before: StoredObject, after: StoredObject, owner: str) -> Owners:
    """Returns the owners after a write that made `after` of `before`: what it changed is the writer's alone.

    `before.owners` are those that are kept.
    """
    assert before.owners is not None, "owners are kept"
    old, new = object_values(types, before), object_values(types, after)
    changed = differing(old, new)
    owners = {name: fields - changed for name, fields in before.owners.items()}
    owners[owner] = owners.get(owner, frozenset()) | _with_parents(changed & new.keys(), new)
    return settled(owners, new)


def differing(old: Values, new: Values) -> frozenset[str]:
    """Returns the paths that are set in one of the two alone, or have another value."""
    return frozenset(
        path for path in old.keys() | new.keys() if path not in new or path not in old or old[path] != new[path]
    )


def _with_parents(fields: Iterable[str], values: Mapping[str, object]) -> frozenset[str]:
    """Returns the fields and the messages around them; `values` has all paths that are set."""
    found: set[str] = set()
    for path in fields:
        found.add(path)
        found.update(parent for parent in _parents(path) if parent in values)
    return frozenset(found)


def _parents(path: str) -> Iterator[str]:
    """Yields each beginning of the path that ends before a dot; some of them may be within a quoted key."""
    at = path.rfind(".")
    while at > 0:
        yield path[:at]
        at = path.rfind(".", 0, at)


def settled(owners: Mapping[str, frozenset[str]], values: Values) -> Owners:
    """Returns the owners of what is set: without fields that are not set, and with `put` where no owner is left."""
    kept = {name: fields & values.keys() for name, fields in owners.items()}
    lost = values.keys() - frozenset().union(*kept.values())
    if lost:
        kept[DEFAULT_OWNER] = kept.get(DEFAULT_OWNER, frozenset()) | _with_parents(lost, values)
    return {name: kept[name] for name in sorted(kept) if kept[name]}
