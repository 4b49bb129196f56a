"""A user of the simulated cluster: puts, deletes and reads units until answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from grpc import aio

from rube.api import (
    ApiAsyncStub,
    ApiStub,
    DeleteRequest,
    GetRequest,
    Key,
    ListRequest,
    Metadata,
    Namespace,
    Object,
    OwnerReference,
    PutRequest,
    Unit,
    UpdateLifecycleRequest,
)
from rube.api.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    RubeError,
)
from rube.api.keys import ObjectKey, key_of
from rube.api.types import pack
from rube.api.well_known import MOVE_ANNOTATION, NAMESPACE_TYPE, NODE_LABEL, UNIT_TYPE, move_request
from rube.client import Client
from rube.host import Host
from rube.transport import rube_error

ATTEMPTS_MAX = 1_000
DEADLINE_S = 2.0
PAUSE_S = 0.2
OBJECTS_PER_REQUEST_MAX = 100
REFUSALS = (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
"""An apiserver's errors that do not pass with time."""
PAGES_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """The repeated reads of a user."""

    every_s: float
    times: int
    not_older: bool = False
    """It asks for a state that is not older than any that it knows, instead of the newest."""


@dataclass(frozen=True, slots=True)
class Life:
    """The units of the same namespace that own the units of a put, and the finalizers that these have."""

    owners: tuple[str, ...] = ()
    finalizers: tuple[str, ...] = ()


def _of_none() -> None:
    """Marks calls of a client that counts none."""


@dataclass(slots=True)
class User:
    """A user who knows its last put of each unit. It belongs to one process, and is made again with it."""

    name: str
    host: Host
    targets: Sequence[str]
    """The apiservers; a request that is not answered is repeated at the next."""
    specs: dict[tuple[str, str], Unit] = field(default_factory=dict)
    """By (namespace, name): shared by all users of a world, who know each other's units."""
    next_call: Callable[[], None] = _of_none
    """Called before each call of `edit`."""
    # The newest revision that its reads were answered.
    _known: int = 0

    async def put(self, namespace: str, units: Sequence[tuple[str, Unit, str]], life: Life | None = None) -> None:
        """Puts (name, spec, node or empty) in requests of bounded size; each is atomic. An owner that is not there is
        left out."""
        life = life or Life()
        owners = [await self._owner(namespace, name) for name in life.owners]
        for start in range(0, len(units), OBJECTS_PER_REQUEST_MAX):
            objects: list[Object] = []
            for name, unit, node in units[start : start + OBJECTS_PER_REQUEST_MAX]:
                self.specs[namespace, name] = unit
                labels = {NODE_LABEL: node} if node else {}
                metadata = Metadata(namespace=namespace, name=name, labels=labels, finalizers=life.finalizers)
                metadata.owner_references.extend(owner for owner in owners if owner is not None)
                objects.append(Object(metadata=metadata, spec=pack(unit)))
            await self._until_acknowledged("put", [str(key_of(obj)) for obj in objects], objects=objects)

    async def put_objects(self, objects: Sequence[Object]) -> None:
        """Puts objects of any types in one request."""
        await self._until_acknowledged("put", [str(key_of(obj)) for obj in objects], objects=objects)

    async def put_to_refuse(self, objects: Sequence[Object]) -> str:
        """Puts objects in one request, until it is acknowledged or refused for good; returns the error, or ""."""
        refusals: list[str] = []

        async def request(stub: ApiAsyncStub) -> None:
            try:
                await stub.Put(PutRequest(objects=objects), timeout=DEADLINE_S)
            except aio.AioRpcError as failed:
                error = rube_error(failed)
                if not isinstance(error, REFUSALS):
                    raise
                refusals.append(error.message)

        await self._answered(f"put of {objects[0].metadata.name}", request)
        return refusals[0] if refusals else ""

    async def delete_objects(self, keys: Sequence[ObjectKey], propagation: int = 0) -> None:
        """Deletes objects of any types in one request."""
        await self._delete([key.to_proto() for key in keys], propagation)

    async def change(self, namespace: str, names: Sequence[str], change: Callable[[Unit], None]) -> None:
        """Puts each unit again after `change` was made to a copy of its last put."""
        changed: list[tuple[str, Unit, str]] = []
        for name in names:
            unit = Unit()
            unit.CopyFrom(self.specs[namespace, name])
            change(unit)
            changed.append((name, unit, ""))
        await self.put(namespace, changed)

    async def edit(
        self, namespace: str, names: Sequence[str], change: Callable[[Unit], None], *, unconditional: bool
    ) -> None:
        """Reads each unit, changes it and puts it back by rube.client, as `ructl edit` does: until it is acknowledged,
        and, unless `unconditional`, over the revision that was read. One that is gone is left out."""
        async with Client(self.host, self.targets) as client:
            for name in names:
                key = ObjectKey(UNIT_TYPE, namespace, name)
                for _ in range(ATTEMPTS_MAX):
                    try:
                        await self._edit(client, key, change, unconditional=unconditional)
                    except NotFoundError:
                        pass
                    except RubeError:  # changed since, or not answered: what there is now is read
                        await self.host.clock.sleep(PAUSE_S)
                        continue
                    break

    async def _edit(
        self, client: Client, key: ObjectKey, change: Callable[[Unit], None], *, unconditional: bool
    ) -> None:
        self.next_call()
        read = (await client.get(GetRequest(key=key.to_proto()))).object
        unit = Unit()
        read.spec.Unpack(unit)
        change(unit)
        metadata = Metadata(namespace=key.namespace, name=key.name)
        metadata.revision = 0 if unconditional else read.metadata.revision
        self.next_call()
        await client.put(PutRequest(objects=[Object(metadata=metadata, spec=pack(unit))]))
        self.specs[key.namespace, key.name] = unit

    async def move(self, namespace: str, names: Sequence[str], node: str) -> None:
        """Asks that units, as they were last put, move to a node (empty: any other), as `ructl move` does."""
        objects: list[Object] = []
        for name in names:
            annotations = {MOVE_ANNOTATION: move_request(node, self.name)}
            metadata = Metadata(namespace=namespace, name=name, annotations=annotations)
            objects.append(Object(metadata=metadata, spec=pack(self.specs[namespace, name])))
        await self._until_acknowledged("put", [str(key_of(obj)) for obj in objects], objects=objects)

    async def delete(self, namespace: str, names: Sequence[str], propagation: int = 0) -> None:
        """Deletes units; `propagation` is a DeleteRequest.Propagation."""
        await self._delete([ObjectKey(UNIT_TYPE, namespace, name).to_proto() for name in names], propagation)

    async def release(self, namespace: str, names: Sequence[str]) -> None:
        """Removes the finalizers of units."""
        for name in names:
            key = ObjectKey(UNIT_TYPE, namespace, name).to_proto()

            async def request(stub: ApiAsyncStub, key: Key = key) -> None:
                found = (await stub.Get(GetRequest(key=key), timeout=DEADLINE_S)).object.metadata
                if found.finalizers:
                    released = UpdateLifecycleRequest(key=key, uid=found.uid, remove_finalizers=found.finalizers)
                    await stub.UpdateLifecycle(released, timeout=DEADLINE_S)

            await self._answered(f"release of {name}", request)

    async def make_namespace(self, name: str) -> None:
        """Puts a core.Namespace."""
        namespace = Object(metadata=Metadata(name=name), spec=pack(Namespace()))
        await self._until_acknowledged("put", [name], objects=[namespace])

    async def delete_namespace(self, name: str) -> None:
        await self._delete([Key(type=NAMESPACE_TYPE, name=name)], 0)

    async def _delete(self, keys: Sequence[Key], propagation: int) -> None:
        wanted = DeleteRequest(keys=keys, propagation=cast(DeleteRequest.Propagation.ValueType, propagation))

        async def request(stub: ApiAsyncStub) -> None:
            await stub.Delete(wanted, timeout=DEADLINE_S)

        await self._answered(f"delete of {keys[0].name}", request)

    async def _owner(self, namespace: str, name: str) -> OwnerReference | None:
        found: list[OwnerReference] = []

        async def request(stub: ApiAsyncStub) -> None:
            key = ObjectKey(UNIT_TYPE, namespace, name)
            answer = await stub.Get(GetRequest(key=key.to_proto()), timeout=DEADLINE_S)
            uid = answer.object.metadata.uid
            found.append(OwnerReference(type=key.type, namespace=namespace, name=name, uid=uid, block_deletion=True))

        await self._answered(f"read of {name}", request)
        return found[0] if found else None

    async def _answered(self, what: str, request: Callable[[ApiAsyncStub], Awaitable[None]]) -> None:
        async with self._stubs() as stubs:
            await self._until_answered(stubs, 0, what, request)

    async def read(self, namespace: str, names: Sequence[str], repeated: Repeated) -> None:
        """Gets units, which may be absent, at the servers in turn, each over one connection that stays."""
        keys = [ObjectKey(UNIT_TYPE, namespace, name).to_proto() for name in names]
        async with self._stubs() as stubs, asyncio.TaskGroup() as reads:
            for turn in range(repeated.times):
                for key in keys:
                    reads.create_task(self._get(stubs, turn, key, not_older=repeated.not_older))
                await self.host.clock.sleep(repeated.every_s)

    async def list_all(self, request: ListRequest, repeated: Repeated) -> None:
        """Lists what matches, page by page, at the servers in turn."""
        async with self._stubs() as stubs, asyncio.TaskGroup() as lists:
            for turn in range(repeated.times):
                lists.create_task(self._list(stubs, turn, request, not_older=repeated.not_older))
                await self.host.clock.sleep(repeated.every_s)

    async def _get(self, stubs: Sequence[ApiAsyncStub], first: int, key: Key, *, not_older: bool) -> None:
        async def get(stub: ApiAsyncStub) -> None:
            known = self._known if not_older else 0
            answer = await stub.Get(GetRequest(key=key, min_revision=known), timeout=DEADLINE_S)
            self._known = max(self._known, answer.revision)

        await self._until_answered(stubs, first, f"read of {key.name}", get)

    async def _list(self, stubs: Sequence[ApiAsyncStub], first: int, wanted: ListRequest, *, not_older: bool) -> None:
        request = ListRequest()
        request.CopyFrom(wanted)
        request.min_revision = self._known if not_older else 0

        async def page(stub: ApiAsyncStub) -> None:
            answer = await stub.List(request, timeout=DEADLINE_S)
            self._known = max(self._known, answer.revision)
            request.page_token, request.min_revision = answer.next_page_token, 0

        for turn in range(PAGES_MAX):  # each at the next server
            await self._until_answered(stubs, first + turn, "list", page)
            if not request.page_token:
                return

    async def _until_acknowledged(
        self,
        kind: str,
        names: Sequence[str],
        *,
        objects: Sequence[Object] = (),
    ) -> None:
        async def request(stub: ApiAsyncStub) -> None:
            await stub.Put(PutRequest(objects=objects), timeout=DEADLINE_S)

        await self._answered(f"{kind} of {names[0]}", request)

    async def _until_answered(
        self,
        stubs: Sequence[ApiAsyncStub],
        first: int,
        what: str,
        request: Callable[[ApiAsyncStub], Awaitable[None]],
    ) -> None:
        """Repeats one request until it is answered, also with NOT_FOUND: an absent object need not be deleted."""
        why = ""
        for turn in range(first, first + ATTEMPTS_MAX):
            try:
                await request(stubs[turn % len(stubs)])
            except aio.AioRpcError as failed:
                error = rube_error(failed)
                if isinstance(error, NotFoundError):
                    return
                why = error.message
                await self.host.clock.sleep(PAUSE_S)
            else:
                return
        raise DeadlineExceededError(f"{self.name}: {what} not answered in {ATTEMPTS_MAX} attempts: {why}")

    @asynccontextmanager
    async def _stubs(self) -> AsyncIterator[list[ApiAsyncStub]]:
        """One for each server."""
        channels = [self.host.network.channel(target) for target in self.targets]
        try:
            yield [ApiStub(channel) for channel in channels]
        finally:
            for channel in channels:
                await channel.close(None)
