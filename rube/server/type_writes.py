"""The writes of types: a push, which compares a next version with all objects, and a deletion, which needs none to be
left. Other writes go on meanwhile; one that the work at a type cannot bear ends the work (see `known_types`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple

from rube.api import DeleteRequest, DeleteResponse, Object, PutRequest, PutResponse, Type, TypeGate
from rube.api.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from rube.api.keys import TYPE_TYPE, TYPE_URL_PREFIX, ObjectKey, prefix_bytes, prefix_end, type_of
from rube.api.types import BUILTIN, Kind
from rube.api.types.evolution import breakages
from rube.api.types.pushed import checked_kind
from rube.server.backend import Backend
from rube.server.first_answers import carry_out
from rube.server.known_types import GuardChangedError, gate_key
from rube.server.objects import decode, prepare_put
from rube.server.preconditions import implied_precondition, resolve_preconditions
from rube.server.put_response import report
from rube.server.scan import scan
from rube.server.stored_object import StoredObject, spec_field
from rube.server.type_checks import problems_of
from rube.server.validation import check_distinct, check_object, check_room
from rube.server.writes import Current, Decided, Intent, Outcome, Writer
from rube.store import Compare, Op, Store, Txn

PROBLEMS_MAX = 10
"""So many problems are named in one error."""
# Objects that are compared before other calls have their turn: a few milliseconds.
_TURN_OBJECTS = 32


class _Next(NamedTuple):
    """A version of a type to be stored."""

    name: str
    type: Type
    kind: Kind
    present: Kind | None = None
    """The version that it replaces; None: there is none, or this server cannot read it."""
    guard: Compare | None = None
    """Holds as long as that is the present version, and nothing else is done with it."""

    @property
    def changes(self) -> bool:
        """True if it replaces another version, which may have objects; also one that this server cannot read."""
        stored = self.guard is not None and self.guard.mod_revision > 0
        return stored and (self.present is None or self.present.source != self.kind.source)


async def push(backend: Backend, request: PutRequest) -> PutResponse:
    """Carries out a PutRequest of api.Type objects alone.

    Raises InvalidArgumentError for a type that is wrong in itself, FailedPreconditionError if a next version breaks the
    present one or an object that is stored or written meanwhile, AbortedError if another push of it began.
    """
    pairs = []
    wanted: list[_Next] = []
    for index, obj in enumerate(request.objects):
        if type_of(obj.spec) != TYPE_TYPE:
            raise InvalidArgumentError(
                f"objects[{index}] is no {TYPE_TYPE}, and the request has some: put types in a request of their own",
                field=f"objects[{index}]",
            )
        key, stored = check_object(obj, index, BUILTIN)
        pairs.append((key, stored))
        wanted.append(_checked(ObjectKey.from_bytes(key).name, stored, index))
    keys = [key for key, _ in pairs]
    check_distinct("objects", keys)
    preconditions = resolve_preconditions(request.preconditions, keys)
    preconditions += [
        (key, implied_precondition(stored.metadata))
        for key, stored in pairs
        if stored.metadata.revision or stored.metadata.uid
    ]

    def decide(current: Current) -> Decided:
        decided: dict[bytes, StoredObject | None] = {}
        for key, stored in pairs:
            check_room(key, stored, backend.store.limits)
            before = current[key]
            uid = backend.host.random.uid() if before is None else ""
            changed = prepare_put(before, stored, now_ns=backend.host.clock.now_ns(), uid=uid)
            if changed is not None:
                decided[key] = changed
        return decided

    fence = request.fence if request.HasField("fence") else None
    await _judge(backend, Intent(keys, preconditions, fence, decide, validate_only=True))
    await backend.types.refresh(*(one.name for one in wanted))
    wanted = [
        one._replace(present=backend.types.now.types.get(one.name), guard=_guard(backend, one.name)) for one in wanted
    ]
    _check_short_names(backend, wanted)
    _check_scopes(wanted)
    if not request.allow_breaking:
        _check_breaking(wanted)

    def respond(outcome: Outcome) -> PutResponse:
        response = PutResponse(revision=outcome.revision, store_id=backend.store.store_id)
        report(response, outcome, keys, validate_only=request.validate_only)
        return response

    names = [one.name for one in wanted]
    opened = [Op(gate_key(name), TypeGate(id=backend.host.random.uid()).SerializeToString()) for name in names]
    candidates = {one.name: TypeGate(candidate=one.type) for one in wanted if one.changes}
    begun = {} if request.validate_only else await _set_gates(backend, candidates, [one.guard for one in wanted])
    try:
        await _compare(backend, wanted)
        guards = [begun.get(gate_key(one.name), one.guard) for one in wanted]
        intent = Intent(
            keys,
            preconditions,
            fence,
            decide,
            request.validate_only,
            guards=[guard for guard in guards if guard is not None],
            also=opened,
        )
        response = await carry_out(backend, request, intent, respond)
    except GuardChangedError:
        raise await _why_ended(backend, candidates, "pushed", names) from None
    except BaseException:
        await _end(backend.store, begun)
        raise
    await backend.types.refresh(*names)
    return response


async def delete_types(backend: Backend, request: DeleteRequest) -> DeleteResponse:
    """Carries out a DeleteRequest of types alone. Raises FailedPreconditionError, with their number, if a type has
    objects."""
    if any(key.type != TYPE_TYPE for key in request.keys):
        raise InvalidArgumentError("delete types in a request of their own", field="keys")
    keys = [BUILTIN.object_key_bytes(key.type, key.namespace, key.name) for key in request.keys]
    check_distinct("keys", keys)
    names = [key.name for key in request.keys]
    for name in names:
        if BUILTIN.get(name) is not None:
            raise InvalidArgumentError(f"type {name} is built in: it cannot be deleted", field="keys")

    def decide(current: Current) -> Decided:
        for key in keys:
            if current[key] is None:
                raise NotFoundError(f"{ObjectKey.from_bytes(key)} does not exist, so nothing was deleted")
        return dict.fromkeys(keys)

    preconditions = resolve_preconditions(request.preconditions, keys)
    fence = request.fence if request.HasField("fence") else None
    await _judge(backend, Intent(keys, preconditions, fence, decide, validate_only=True))
    await backend.types.refresh(*names)
    for name in names:
        if name not in backend.types.now.gates:
            raise NotFoundError(f"{TYPE_TYPE}/{name} does not exist, so nothing was deleted", key=f"{TYPE_TYPE}/{name}")
    closing = {name: TypeGate(deletion=True) for name in names}
    guards = [_guard(backend, name) for name in names]
    gates = {} if request.validate_only else await _set_gates(backend, closing, guards)

    def respond(outcome: Outcome) -> DeleteResponse:
        return DeleteResponse(revision=outcome.revision, store_id=backend.store.store_id)

    intent = Intent(
        keys,
        preconditions,
        fence,
        decide,
        request.validate_only,
        guards=list(gates.values()),
        also=[Op(gate_key(name), None) for name in names],
    )
    try:
        await _check_empty(backend.store, names)
        response = await carry_out(backend, request, intent, respond)
    except GuardChangedError:
        raise await _why_ended(backend, closing, "deleted", names) from None
    except BaseException:
        await _end(backend.store, gates)
        raise
    await backend.types.refresh(*names)
    return response


def _checked(name: str, stored: StoredObject, index: int) -> _Next:
    if BUILTIN.get(name) is not None:
        raise InvalidArgumentError(
            f"objects[{index}]: type {name} is built in: name the message otherwise", field=f"objects[{index}]"
        )
    if stored.metadata.finalizers:
        raise InvalidArgumentError(
            f"objects[{index}] ({name}): a type has no finalizers: it is deleted once it has no objects",
            field=f"objects[{index}].metadata.finalizers",
        )
    pushed = Type.FromString(stored.spec_value())
    try:
        kind = checked_kind(name, pushed)
        stored.spec = spec_field(TYPE_URL_PREFIX + TYPE_TYPE, kind.source)
        return _Next(name, Type.FromString(kind.source), kind)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"objects[{index}] ({name}): {error.message}", **error.metadata) from error


def _check_short_names(backend: Backend, wanted: Sequence[_Next]) -> None:
    """Raises InvalidArgumentError for a new short name that another type has, as far as this server knows. Two pushes
    at once may both have one; `ructl` asks for the full name then."""
    pushed = {one.name for one in wanted}
    others = [kind for kind in backend.types.now.types.kinds() if kind.name not in pushed]
    taken: dict[str, str] = {word: kind.name for kind in others for word in kind.words()}
    for one in wanted:
        for word in one.kind.short_names:
            if one.present is not None and word in one.present.short_names:
                continue
            if taken.setdefault(word, one.name) != one.name:
                raise InvalidArgumentError(
                    f"{one.name}: the short name {word!r} is {taken[word]}'s: choose another",
                    field="resource.short_names",
                )


def _check_scopes(wanted: Sequence[_Next]) -> None:
    """Raises FailedPreconditionError for a type whose objects would have other keys."""
    for one in wanted:
        if one.present is not None and one.present.namespaced != one.kind.namespaced:
            raise FailedPreconditionError(
                f"the scope of {one.name} cannot change, since its objects' keys would: delete them and the type, then "
                "push it anew",
                field="resource.scope",
            )


def _check_breaking(wanted: Sequence[_Next]) -> None:
    """Raises FailedPreconditionError, with buf's rules, for a version as which the bytes of the present one are
    misread."""
    found: list[str] = []
    for one in wanted:
        if one.present is not None:
            broken = (each for each in breakages(one.present, one.kind) if not each.warning)
            found += [f"{each.path}: {each.text} ({each.rule})" for each in broken]
    if found:
        more = f"; and {len(found) - PROBLEMS_MAX} more" if len(found) > PROBLEMS_MAX else ""
        raise FailedPreconditionError(
            f"the new version breaks the present one: {'; '.join(found[:PROBLEMS_MAX])}{more}", count=len(found)
        )


async def _judge(backend: Backend, intent: Intent) -> None:
    """Raises PermissionDeniedError for a caller whose rights depend on the types, before the work at them begins or its
    errors tell anything of their objects."""
    if not isinstance(backend.writer, Writer):
        await backend.writer.write(intent)


def _guard(backend: Backend, name: str) -> Compare:
    """Returns the compare with the gate of a type as it is known."""
    gate = backend.types.now.gates.get(name)
    return Compare(gate_key(name), 0 if gate is None else gate.revision)


async def _set_gates(
    backend: Backend, gates: Mapping[str, TypeGate], guards: Sequence[Compare | None]
) -> dict[bytes, Compare]:
    """Shows the work at types to all writes, if these compares hold. Returns those that hold as long as no write has
    ended it."""
    if not gates:
        return {}
    for gate in gates.values():
        gate.id = backend.host.random.uid()
    ops = [Op(gate_key(name), gate.SerializeToString(deterministic=True)) for name, gate in gates.items()]
    try:
        revision = await backend.store.commit(Txn(tuple(ops), tuple(guard for guard in guards if guard)))
    except AbortedError as error:
        raise AbortedError(f"type {', '.join(gates)} has another writer at the same time: try again") from error
    await backend.types.refresh(*gates)
    return {gate_key(name): Compare(gate_key(name), revision) for name in gates}


async def _end(store: Store, gates: Mapping[bytes, Compare]) -> None:
    """Opens gates again. If they have changed, there is nothing to open."""
    if gates:
        ops = tuple(Op(key, TypeGate().SerializeToString()) for key in gates)
        try:
            await store.commit(Txn(ops, tuple(gates.values())))
        except AbortedError:
            return


async def _compare(backend: Backend, wanted: Sequence[_Next]) -> None:
    """Raises FailedPreconditionError for a next version that an object does not fit."""
    for one in wanted:
        if not one.changes:
            continue
        problems: list[str] = []
        count = 0
        async with aclosing(_objects(backend.store, one.name)) as objects:
            async for obj in objects:
                found = next(problems_of(obj, one.present or one.kind, one.kind), "")
                if found:
                    count += 1
                    if len(problems) < PROBLEMS_MAX:
                        key = ObjectKey(one.name, obj.metadata.namespace, obj.metadata.name)
                        problems.append(f"{key}: {found}")
        if problems:
            more = f"; and {count - len(problems)} more objects" if count > len(problems) else ""
            raise FailedPreconditionError(
                f"the new version of {one.name} does not fit {count} of its objects: {'; '.join(problems)}{more}: "
                "change these objects, or the version",
                count=count,
            )


async def _objects(store: Store, name: str) -> AsyncGenerator[Object, None]:
    prefix = prefix_bytes(name)
    async with aclosing(scan(store, prefix, prefix_end(prefix))) as pages:
        async for page in pages:
            for index, record in enumerate(page.records):
                if index % _TURN_OBJECTS == 0:
                    await asyncio.sleep(0)
                yield decode(record)


async def _check_empty(store: Store, names: Sequence[str]) -> None:
    """Raises FailedPreconditionError, with their number, for a type that has objects."""
    for name in names:
        count = await _count(store, name)
        if count:
            raise FailedPreconditionError(
                f"type {name} has {'1 object: delete it' if count == 1 else f'{count} objects: delete them'} first "
                f"('ructl list -t {name}' shows {'it' if count == 1 else 'them'})",
                key=f"{TYPE_TYPE}/{name}",
                count=count,
            )


async def _count(store: Store, name: str) -> int:
    prefix = prefix_bytes(name)
    async with aclosing(scan(store, prefix, prefix_end(prefix))) as pages:
        return sum([len(page.records) async for page in pages])


async def _why_ended(
    backend: Backend, works: Mapping[str, TypeGate], what: str, names: Sequence[str]
) -> FailedPreconditionError | AbortedError:
    """Returns the error of works, which have ids by now, one of which a write has ended."""
    await backend.types.refresh(*names)
    for name in names:
        gate = backend.types.now.gates.get(name)
        told = None if gate is None else gate.veto
        if told is not None and name in works and told.id == works[name].id:
            return FailedPreconditionError(
                f"type {name} was not {what}: {ObjectKey.from_proto(told.key)} was written meanwhile: {told.problem}"
            )
    return AbortedError(f"type {', '.join(names)} was not {what}: another client wrote it at the same time: try again")
