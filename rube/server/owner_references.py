"""The owners that an object may name."""

from __future__ import annotations

from rube.api import Metadata, OwnerReference
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.types import Types

OWNERS_MAX = 64


def check_owners(metadata: Metadata, types: Types) -> None:
    """Raises InvalidArgumentError for a bad reference to an owner, and for too many.

    Whether an owner exists is not checked: it may be gone at any time, and then the garbage collector acts.
    """
    owners = metadata.owner_references
    if len(owners) > OWNERS_MAX:
        raise InvalidArgumentError(f"{len(owners)} owners, more than {OWNERS_MAX}", field="metadata.owner_references")
    uids: set[str] = set()
    for index, owner in enumerate(owners):
        field = f"metadata.owner_references[{index}]"
        _check_owner(field, metadata, owner, types)
        if owner.uid in uids:
            raise InvalidArgumentError(f"{field} names uid {owner.uid} again", field=field)
        uids.add(owner.uid)


def _check_owner(field: str, metadata: Metadata, owner: OwnerReference, types: Types) -> None:
    key = ObjectKey(owner.type, owner.namespace, owner.name)
    try:
        types.validate_object_key(key)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{field}: {error.message}", field=field) from error
    if not owner.uid:
        raise InvalidArgumentError(f"{field} has no uid: set the metadata.uid of {key}", field=f"{field}.uid")
    if owner.namespace and owner.namespace != metadata.namespace:
        where = f"namespace {metadata.namespace!r}" if metadata.namespace else "no namespace"
        raise InvalidArgumentError(
            f"{field} is {key}, but the object is in {where}: an owner is in the same namespace, or outside namespaces",
            field=f"{field}.namespace",
        )
