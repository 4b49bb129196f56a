"""A user of the simulated cluster: puts, deletes and reads units until answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from grpc import aio

from rube import api_pb2, api_pb2_grpc
from rube.api.binding import MOVE_ANNOTATION, NODE_LABEL, move_request
from rube.api.errors import DeadlineExceededError, NotFoundError, RubeError
from rube.api.keys import ObjectKey, key_of
from rube.api.registry import pack
from rube.api.systemd_pb2 import Unit
from rube.host import Host
from rube.transport import rube_error

ATTEMPTS_MAX = 1_000
DEADLINE_S = 2.0
PAUSE_S = 0.2
OBJECTS_PER_REQUEST_MAX = 100
UNIT_TYPE = Unit.DESCRIPTOR.full_name


@dataclass(slots=True)
class User:
    """Knows what it last put of each unit. One process's: made anew where the process is."""

    name: str
    host: Host
    # The apiservers; a request that is not answered is repeated at the next.
    targets: Sequence[str]
    # By (namespace, name): shared by all users of a world, who know of each other's units.
    specs: dict[tuple[str, str], Unit] = field(default_factory=dict)

    async def put(self, namespace: str, units: Sequence[tuple[str, Unit, str]]) -> None:
        """Puts (name, spec, node or empty) in requests of bounded size; each is atomic."""
        for start in range(0, len(units), OBJECTS_PER_REQUEST_MAX):
            objects: list[api_pb2.Object] = []
            for name, unit, node in units[start : start + OBJECTS_PER_REQUEST_MAX]:
                self.specs[namespace, name] = unit
                labels = {NODE_LABEL: node} if node else {}
                metadata = api_pb2.Metadata(namespace=namespace, name=name, labels=labels)
                objects.append(api_pb2.Object(metadata=metadata, spec=pack(unit)))
            await self._until_acknowledged("put", [str(key_of(obj)) for obj in objects], objects=objects)

    async def change(self, namespace: str, names: Sequence[str], change: Callable[[Unit], None]) -> None:
        """Puts each unit anew after `change` was made to a copy of what was last put."""
        changed: list[tuple[str, Unit, str]] = []
        for name in names:
            unit = Unit()
            unit.CopyFrom(self.specs[namespace, name])
            change(unit)
            changed.append((name, unit, ""))
        await self.put(namespace, changed)

    async def move(self, namespace: str, names: Sequence[str], node: str) -> None:
        """Asks that units, as they were last put, move to a node (empty: any other), as `ructl move` does."""
        objects: list[api_pb2.Object] = []
        for name in names:
            annotations = {MOVE_ANNOTATION: move_request(node, self.name)}
            metadata = api_pb2.Metadata(namespace=namespace, name=name, annotations=annotations)
            objects.append(api_pb2.Object(metadata=metadata, spec=pack(self.specs[namespace, name])))
        await self._until_acknowledged("put", [str(key_of(obj)) for obj in objects], objects=objects)

    async def delete(self, namespace: str, names: Sequence[str]) -> None:
        keys = [ObjectKey(UNIT_TYPE, namespace, name) for name in names]
        await self._until_acknowledged("delete", [str(key) for key in keys], keys=[key.to_proto() for key in keys])

    async def read(self, namespace: str, names: Sequence[str], *, every_s: float, times: int) -> None:
        """Gets units, which may be absent, at the servers in turn, each over one connection that stays."""
        keys = [ObjectKey(UNIT_TYPE, namespace, name) for name in names]
        async with self._stubs() as stubs, asyncio.TaskGroup() as reads:
            for turn in range(times):
                for key in keys:
                    reads.create_task(self._repeat(stubs, turn, "read", [str(key)], keys=[key.to_proto()]))
                await self.host.clock.sleep(every_s)

    async def _until_acknowledged(
        self,
        kind: str,
        names: Sequence[str],
        *,
        objects: Sequence[api_pb2.Object] = (),
        keys: Sequence[api_pb2.Key] = (),
    ) -> None:
        async with self._stubs() as stubs:
            await self._repeat(stubs, 0, kind, names, objects=objects, keys=keys)

    async def _repeat(
        self,
        stubs: Sequence[api_pb2_grpc.ApiAsyncStub],
        first: int,
        kind: str,
        names: Sequence[str],
        *,
        objects: Sequence[api_pb2.Object] = (),
        keys: Sequence[api_pb2.Key] = (),
    ) -> None:
        """Repeats one request until it is acknowledged or cannot be: a delete of what is gone already."""
        why = ""
        for turn in range(first, first + ATTEMPTS_MAX):
            try:
                await self._request(stubs[turn % len(stubs)], kind, objects, keys)
            except NotFoundError:
                return
            except RubeError as error:
                why = error.message
                await self.host.clock.sleep(PAUSE_S)
            else:
                return
        raise DeadlineExceededError(
            f"{self.name}: {kind} of {names[0]} not acknowledged in {ATTEMPTS_MAX} attempts: {why}"
        )

    @asynccontextmanager
    async def _stubs(self) -> AsyncIterator[list[api_pb2_grpc.ApiAsyncStub]]:
        """One for each server."""
        channels = [self.host.network.channel(target) for target in self.targets]
        try:
            yield [api_pb2_grpc.ApiStub(channel) for channel in channels]
        finally:
            for channel in channels:
                await channel.close(None)

    async def _request(
        self,
        stub: api_pb2_grpc.ApiAsyncStub,
        kind: str,
        objects: Sequence[api_pb2.Object],
        keys: Sequence[api_pb2.Key],
    ) -> None:
        try:
            if kind == "read":
                await stub.Get(api_pb2.GetRequest(key=keys[0]), timeout=DEADLINE_S)
            elif kind == "delete":
                await stub.Delete(api_pb2.DeleteRequest(keys=keys), timeout=DEADLINE_S)
            else:
                await stub.Put(api_pb2.PutRequest(objects=objects), timeout=DEADLINE_S)
        except aio.AioRpcError as error:
            raise rube_error(error) from error
