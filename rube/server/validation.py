"""The validation of written objects; every error names the object and the field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from google.protobuf.any_pb2 import Any

from rube.api import Metadata, Object, selectors
from rube.api.errors import InvalidArgumentError, ResourceExhaustedError
from rube.api.keys import ObjectKey, type_of
from rube.api.types import Types
from rube.server.deletion import check_finalizers
from rube.server.namespaces import RESERVED
from rube.server.owner_references import check_owners
from rube.server.owners import object_of_owners_key
from rube.server.specs import read_spec
from rube.server.stored_object import StoredObject
from rube.store import Op, Record, StoreLimits

ANNOTATIONS_BYTES_MAX = 256 * 1024
ROOM_BYTES = 64 * 1024
"""Bytes that an object may grow by after it was put: a status, the label of its node. Less in a store of small
objects."""


def check_object(obj: Object, index: int, types: Types) -> tuple[bytes, StoredObject]:
    """Returns the object's key (`ObjectKey.to_bytes`), and the object with a canonical spec and without a status;
    `index` is its place in the request.

    Raises InvalidArgumentError.
    """
    # Held, because each access to a field of a message makes a new object unless one is held.
    metadata, spec = obj.metadata, obj.spec
    type_name, namespace, name = type_of(spec), metadata.namespace, metadata.name
    if not type_name:
        raise no_spec(obj, index)
    try:
        key = types.object_key_bytes(type_name, namespace, name)
        check_metadata(metadata, types)
        found = read_spec(types, type_name, spec.value)
    except InvalidArgumentError as error:
        raise _located(error, f"objects[{index}]", ObjectKey(type_name, namespace, name)) from error
    return key, StoredObject(metadata, found.field, parsed=found)


def check_names(keys: Sequence[bytes]) -> None:
    """Raises InvalidArgumentError for an object that cannot be created."""
    if RESERVED.isdisjoint(keys):
        return
    for key in keys:
        if key in RESERVED:
            name = ObjectKey.from_bytes(key).name
            raise InvalidArgumentError(
                f"namespace {name!r} is the cluster's own, for its leases, and cannot be an object: use another name",
                field="metadata.name",
            )


def no_spec(obj: Object, index: int) -> InvalidArgumentError:
    """Returns the error for an object without a spec."""
    name = obj.metadata.name or "no name"
    return InvalidArgumentError(
        f"objects[{index}] ({name}) has no spec: set spec {{ [rube/api.systemd.Unit] {{ … }} }}", field="spec"
    )


def canonical_status(key: ObjectKey, status: Any, types: Types) -> Any:
    """Returns the status in canonical form. Raises InvalidArgumentError unless it is of the type for this kind of
    object."""
    expected = types.kind(key.type).status
    if expected is None:
        raise InvalidArgumentError(f"{key}: objects of type {key.type} have no status", field="status")
    if type_of(status) != expected.DESCRIPTOR.full_name:
        raise InvalidArgumentError(
            f"{key}: status is {type_of(status) or 'empty'}, not {expected.DESCRIPTOR.full_name}", field="status"
        )
    try:
        return types.canonical_any(status)
    except InvalidArgumentError as error:
        raise _located(error, "status", key) from error


def check_distinct(what: str, keys: Sequence[bytes]) -> None:
    """Raises InvalidArgumentError if a key is named twice, or no key at all."""
    if not keys:
        raise InvalidArgumentError(f"the request names no objects: set {what}", field=what)
    if len(set(keys)) == len(keys):
        return
    seen: set[bytes] = set()
    for index, key in enumerate(keys):
        if key in seen:
            raise InvalidArgumentError(
                f"{what}[{index}]: {ObjectKey.from_bytes(key)} is named twice in one request", field=what
            )
        seen.add(key)


def check_page_size(page_size: int) -> None:
    if page_size < 0:
        raise InvalidArgumentError(f"page_size is {page_size}, less than 0", field="page_size")


def check_object_count(count: int, limits: StoreLimits) -> None:
    """Raises ResourceExhaustedError if one transaction of this store cannot hold that many objects."""
    if count > limits.txn_ops_max:
        raise ResourceExhaustedError(
            f"{count} objects in one request; this store takes at most {limits.txn_ops_max} at one revision "
            "(txn_ops_max): write them in several requests",
            limit=limits.txn_ops_max,
            value=count,
        )


def check_key_count(count: int, owned: int, limits: StoreLimits) -> None:
    """Raises ResourceExhaustedError if objects, and those among them with field owners, are too many for one
    transaction of this store."""
    if owned and count > limits.txn_ops_max:
        raise ResourceExhaustedError(
            f"the request needs {count} keys, since the field owners of {owned} objects are kept beside them; this "
            f"store takes at most {limits.txn_ops_max} at one revision (txn_ops_max): write them in several requests",
            limit=limits.txn_ops_max,
            value=count,
        )


def check_room(key: bytes, wanted: StoredObject, limits: StoreLimits) -> None:
    """Raises ResourceExhaustedError for an object that does not fit with room for a status and a node."""
    size = wanted.metadata.ByteSize() + len(wanted.spec)
    largest = limits.value_bytes_max - min(ROOM_BYTES, limits.value_bytes_max // 8)
    _check_value_size(key, size, limits)
    if size > largest:
        raise ResourceExhaustedError(
            f"{key.decode()} has {size} bytes; this store takes at most {largest} of an object that is put, and keeps "
            f"the rest of {limits.value_bytes_max} (value_bytes_max) for its status and labels: make it smaller",
            limit=largest,
            value=size,
        )


def check_size(ops: Iterable[Op], stored: Iterable[Record | None], limits: StoreLimits) -> None:
    """Raises ResourceExhaustedError, naming the object, if an op or all together are too large for the store.

    Objects in `stored` that are replaced or deleted count too: a watch may deliver them, all of one revision at once.
    """
    stored_bytes = {record.key: len(record.value) for record in stored if record is not None}
    total = 0
    for key, value in ops:
        size = 0 if value is None else len(value)
        _check_value_size(key, size, limits)
        total += max(size, stored_bytes.get(key, 0)) + len(key)
    if total > limits.txn_bytes_max:
        raise ResourceExhaustedError(
            f"the request changes objects of {total} bytes in all; this store takes at most {limits.txn_bytes_max} at "
            "one revision (txn_bytes_max): use several requests",
            limit=limits.txn_bytes_max,
            value=total,
        )


def _check_value_size(key: bytes, size: int, limits: StoreLimits) -> None:
    if size > limits.value_bytes_max:
        raise ResourceExhaustedError(
            f"{_what(key)} {size} bytes; this store takes at most {limits.value_bytes_max} an object "
            "(value_bytes_max): make it smaller",
            limit=limits.value_bytes_max,
            value=size,
        )


def _what(key: bytes) -> str:
    owned = object_of_owners_key(key)
    return f"{key.decode()} has" if owned is None else f"the field owners of {owned.decode()} have"


def check_metadata(metadata: Metadata, types: Types) -> None:
    """Raises InvalidArgumentError for labels, annotations, owners or finalizers that no object can have."""
    if metadata.labels:
        selectors.validate_labels(metadata.labels)
    annotations_bytes = 0
    if metadata.annotations:
        annotations_bytes = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.annotations.items())
    if annotations_bytes > ANNOTATIONS_BYTES_MAX:
        raise InvalidArgumentError(
            f"annotations have {annotations_bytes} bytes, more than {ANNOTATIONS_BYTES_MAX}",
            field="metadata.annotations",
        )
    if metadata.finalizers:
        check_finalizers("metadata.finalizers", metadata.finalizers)
    if metadata.owner_references:
        check_owners(metadata, types)


@contextmanager
def located(where: str) -> Iterator[None]:
    """Puts the place before the text of an InvalidArgumentError."""
    try:
        yield
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{where}: {error.message}", **error.metadata) from error


def _located(error: InvalidArgumentError, where: str, key: ObjectKey) -> InvalidArgumentError:
    return InvalidArgumentError(f"{where} ({key}): {error.message}", **error.metadata)
