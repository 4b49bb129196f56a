"""The verb apply: one owner says the fields that it wants in objects, and leaves those of other owners alone.

The rules are those of Kubernetes' server-side apply
(https://kubernetes.io/docs/reference/using-api/server-side-apply/). One differs: a field stays as long as anyone owns
it, also below a message, entry or item whose applier has left it out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from rube.api import ApplyRequest, ApplyResponse, Metadata, Object
from rube.api.errors import FieldConflictError, InvalidArgumentError
from rube.api.fields import Values, field_values, merge_fields, parse_path, remove_field
from rube.api.keys import TYPE_TYPE, ObjectKey, type_of
from rube.api.types import Types
from rube.server.backend import Backend
from rube.server.first_answers import carry_out
from rube.server.known_types import Snapshot
from rube.server.owners import (
    DEFAULT_OWNER,
    METADATA_FIELDS,
    check_owner,
    differing,
    known_owners,
    metadata_values,
    settled,
)
from rube.server.preconditions import implied_precondition, resolve_preconditions
from rube.server.put import next_objects
from rube.server.put_response import report
from rube.server.specs import Spec, read_spec, spec_of
from rube.server.stored_object import StoredObject
from rube.server.validation import check_distinct, check_metadata, check_object_count, located, no_spec
from rube.server.writes import Current, Decided, Intent, Outcome, ReadOwners

CONFLICTS_SHOWN_MAX: Final = 20
"""So many are named in one error, which travels in gRPC's headers (8 KiB)."""


class AppliedFields(NamedTuple):
    """The fields of an object that an owner wants."""

    key: bytes
    metadata: Metadata
    spec: Spec
    metadata_values: Values
    spec_values: Values


class Conflict(NamedTuple):
    """A field that an apply would change, and one of its owners."""

    key: str
    owner: str
    field: str


class Merged(NamedTuple):
    """The outcome of an apply to one object: the object to put, and the owners of its fields, if nothing is in the
    way."""

    wanted: StoredObject
    metadata_values: Values
    spec_values: Values
    owners: Mapping[str, frozenset[str]]
    conflicts: Sequence[Conflict]


async def apply(backend: Backend, request: ApplyRequest) -> ApplyResponse:
    """Carries out an ApplyRequest; what is so already, and whose owners are the same, is not written.

    What results is checked like an object that is put. Raises FieldConflictError that names every conflict of every
    object, unless `force` is set.
    """
    owner = _applier(request.owner)
    check_object_count(2 * len(request.objects), backend.store.limits)  # each with its owners
    names = {type_of(obj.spec) for obj in request.objects}
    if TYPE_TYPE in names:
        raise InvalidArgumentError("types are not applied: put them", field="objects")
    return await backend.types.with_newest(names, lambda now: _apply(backend, now, request, owner))


async def _apply(backend: Backend, now: Snapshot, request: ApplyRequest, owner: str) -> ApplyResponse:
    """Carries out the request with these types."""
    configs = [_config(now.types, obj, index) for index, obj in enumerate(request.objects)]
    keys = [found.key for found in configs]
    check_distinct("objects", keys)
    preconditions = resolve_preconditions(request.preconditions, keys)
    preconditions += [
        (found.key, implied_precondition(found.metadata))
        for found in configs
        if found.metadata.revision or found.metadata.uid
    ]

    def decide(current: Current) -> Decided:
        merged = {found.key: merge(now.types, current[found.key], found, owner) for found in configs}
        conflicts = [conflict for found in merged.values() for conflict in found.conflicts]
        if conflicts and not request.force:
            raise conflict_error(conflicts)
        for index, (key, found) in enumerate(merged.items()):
            with located(f"objects[{index}] ({ObjectKey.from_bytes(key)}), as merged"):
                check_metadata(found.wanted.metadata, now.types)
        wanted = [(key, found.wanted) for key, found in merged.items()]
        keep = request.keep_unknown_fields
        decided = next_objects(backend, now.types, wanted, current, None, keep_unknown=keep)
        for key, found in merged.items():
            _set_owners(decided, key, current[key], found)
        return decided

    fence = request.fence if request.HasField("fence") else None
    intent = Intent(keys, preconditions, fence, decide, request.validate_only, ReadOwners.ALL, now)

    def respond(outcome: Outcome) -> ApplyResponse:
        response = ApplyResponse(revision=outcome.revision, store_id=backend.store.store_id)
        report(response, outcome, keys, validate_only=request.validate_only)
        return response

    return await carry_out(backend, request, intent, respond)


def _applier(owner: str) -> str:
    if check_owner(owner) == DEFAULT_OWNER:
        raise InvalidArgumentError(
            f"owner is {owner or 'empty'!r}: name who applies, always the same for the same objects; {DEFAULT_OWNER!r} "
            "is the name of writes without an owner",
            field="owner",
        )
    return owner


def _config(types: Types, obj: Object, index: int) -> AppliedFields:
    """Returns the part of an object that is wanted. Raises InvalidArgumentError for a bad key or spec, and for what
    cannot be merged."""
    type_name = type_of(obj.spec)
    if not type_name:
        raise no_spec(obj, index)
    name = ObjectKey(type_name, obj.metadata.namespace, obj.metadata.name)
    with located(f"objects[{index}] ({name})"):
        key = types.object_key_bytes(*name)
        spec = read_spec(types, type_name, obj.spec.value)
        metadata = field_values(obj.metadata, "metadata.", names=METADATA_FIELDS, check_keys=True)
        values = field_values(spec.message, "spec.", check_keys=True)
    return AppliedFields(key, obj.metadata, spec, metadata, values)


def merge(types: Types, stored: StoredObject | None, config: AppliedFields, owner: str) -> Merged:
    """Returns what an apply of `config` makes of the stored object. Pure."""
    metadata, spec = Metadata(), type(config.spec.message)()
    if stored is not None:
        metadata.CopyFrom(stored.metadata)
        spec = types.parse(config.spec.type_name, stored.spec_value())
    else:
        metadata.namespace, metadata.name = config.metadata.namespace, config.metadata.name
    before = metadata_values(metadata), field_values(spec, "spec.")
    old = before[0] | before[1]
    owners = known_owners(stored, old) if stored is not None else {}
    wanted = config.metadata_values | config.spec_values
    mine = frozenset(wanted)
    others = {name: fields for name, fields in owners.items() if name != owner}
    left_out = owners.get(owner, frozenset()) - mine - frozenset().union(*others.values())
    merge_fields(config.metadata, metadata, names=METADATA_FIELDS)
    if merge_fields(config.spec.message, spec, unknown=config.spec.has_unknown) or left_out:
        _remove(metadata, spec, left_out)
        after = metadata_values(metadata), field_values(spec, "spec.")
        changed = differing(old, after[0] | after[1])
    else:
        after = before[0] | config.metadata_values, before[1] | config.spec_values
        changed = frozenset(path for path, value in wanted.items() if path not in old or old[path] != value)
    conflicts = [
        Conflict(str(ObjectKey.from_bytes(config.key)), name, field)
        for name, fields in sorted(others.items())
        for field in sorted(fields & changed)
    ]
    owned = {name: fields - changed for name, fields in others.items()} | {owner: mine}
    content = spec_of(spec)
    return Merged(StoredObject(metadata, content.field, parsed=content), *after, owned, conflicts)


def _remove(metadata: Metadata, spec: Message, fields: Iterable[str]) -> None:
    """Removes fields, those within others first. A field that the type does not have any more is none."""
    for field in sorted(fields, key=lambda path: (-len(path), path)):
        root, _, rest = field.partition(".")
        message = spec if root == "spec" else metadata
        try:
            path = parse_path(cast(Descriptor, message.DESCRIPTOR), rest)
        except InvalidArgumentError:
            continue
        remove_field(path, message)


def _set_owners(
    decided: dict[bytes, StoredObject | None], key: bytes, stored: StoredObject | None, merged: Merged
) -> None:
    """Adds the owners to what is decided of an object."""
    after = decided.get(key) or stored
    assert after is not None, "an apply leaves an object"
    found, wanted = after.metadata, merged.wanted.metadata
    # A put keeps the node label and requests that are left out, and takes back those that are empty.
    same = found.labels == wanted.labels and found.annotations == wanted.annotations
    values = merged.metadata_values if same else metadata_values(found)
    owners = settled(merged.owners, values | merged.spec_values)
    if after is not stored:
        after.metadata.field_owners = True
        after.owners = owners
    elif not stored.metadata.field_owners:
        metadata = Metadata()
        metadata.CopyFrom(stored.metadata)
        metadata.field_owners = True
        decided[key] = StoredObject(metadata, stored.spec, stored.status, owners)
    elif owners != stored.owners:
        decided[key] = replace(stored, owners=owners)


def conflict_error(conflicts: Sequence[Conflict]) -> FieldConflictError:
    """Returns the error that names all of the conflicts, up to a bound."""
    shown = conflicts[:CONFLICTS_SHOWN_MAX]
    more = f"; and {len(conflicts) - len(shown)} more" if len(conflicts) > len(shown) else ""
    return FieldConflictError(
        f"{len(conflicts)} field{'s' * (len(conflicts) > 1)} of other owners would change: {'; '.join(_said(shown))}"
        f"{more}; leave them out, give them the values that they have, or take them over with force",
        conflicts=len(conflicts),
        key=conflicts[0].key,
        fields=json.dumps([conflict._asdict() for conflict in shown], separators=(",", ":")),
    )


def _said(conflicts: Sequence[Conflict]) -> Iterator[str]:
    grouped: dict[tuple[str, str], list[str]] = {}
    for conflict in conflicts:
        grouped.setdefault((conflict.key, conflict.owner), []).append(conflict.field)
    for (key, owner), fields in grouped.items():
        yield f"{key}: {owner!r} owns {', '.join(fields)}"
