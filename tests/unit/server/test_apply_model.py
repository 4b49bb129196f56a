"""Random applies, puts and patches of three owners, judged by a model that knows fields as pairs of path and value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from rube.api import (
    ApplyRequest,
    GetRequest,
    GetResponse,
    Key,
    Metadata,
    Object,
    PatchRequest,
    PutRequest,
    Unit,
)
from rube.api.errors import FieldConflictError
from rube.api.fields import field_values
from rube.api.types import BUILTIN, pack
from rube.host import Host, RealClock, RealRandomness
from rube.server import ApiServerConfig
from rube.server.apply import apply
from rube.server.backend import Backend
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.owners import metadata_values
from rube.server.patch import patch
from rube.server.put import put
from rube.server.read import get
from rube.server.writes import Writer
from rube.store import RealStorage, Store, open_store
from rube.transport import GrpcNetwork

Leaves = Mapping[str, Any]

# Paths, and the values that steps choose from.
UNIVERSE: Leaves = {
    "spec.description": ("a", "b"),
    "spec.enabled": (True,),
    "spec.service.user": ("u", "v"),
    "spec.service.nice": (0, 1),
    "spec.service.environment.A": ("1", "2"),
    "spec.service.environment.B": ("1", "2"),
    "spec.doc_url": (("http:a",), ("http:b", "http:a")),
    "spec.after.x": (None,),
    "spec.after.y": (None,),
    "metadata.labels.tier": ("web", "db"),
    "metadata.annotations.note": ("1", "2"),
}
OWNERS = ("x", "y", "z")
LEAVES = st.fixed_dictionaries({}, optional={path: st.sampled_from(values) for path, values in UNIVERSE.items()})
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.sampled_from(OWNERS), LEAVES, st.booleans()),
        st.tuples(st.just("put"), st.sampled_from(("put", *OWNERS)), LEAVES, st.just(False)),
        st.tuples(st.just("patch"), st.sampled_from(("put", *OWNERS)), LEAVES, st.booleans()),
    ),
    min_size=1,
    max_size=10,
)


class Model:
    """An object as its leaves, and the owners of each. Owners are kept from the first apply on."""

    def __init__(self) -> None:
        self.leaves: dict[str, Any] | None = None
        self.owners: dict[str, set[str]] = {}
        self.kept = False

    def apply(self, owner: str, wanted: Leaves, force: bool) -> set[tuple[str, str]]:
        """Returns the conflicts, of pairs of owner and path; with any, nothing has changed."""
        before = self.leaves or {}
        conflicts = {
            (other, path)
            for other, fields in self.owners.items()
            for path in fields
            if other != owner and path in wanted and before[path] != wanted[path]
        }
        if conflicts and not force:
            return conflicts
        for other, path in conflicts:
            self.owners[other].discard(path)
        elsewhere = {path for other, fields in self.owners.items() if other != owner for path in fields}
        gone = self.owners.get(owner, set()) - wanted.keys() - elsewhere
        self.leaves = {path: value for path, value in before.items() if path not in gone} | dict(wanted)
        self.owners[owner] = set(wanted)
        self.kept = True
        return set()

    def write(self, owner: str, after: Leaves) -> None:
        before = self.leaves or {}
        changed = {path for path in before.keys() | after.keys() if before.get(path, self) != after.get(path, self)}
        for fields in self.owners.values():
            fields -= changed
        self.owners.setdefault(owner if self.kept else "put", set()).update(changed & after.keys())
        self.leaves = dict(after)

    def patch(self, owner: str, values: Leaves, clears: set[str]) -> None:
        assert self.leaves is not None
        after = {path: value for path, value in self.leaves.items() if path not in clears}
        self.write(owner, after | dict(values))


def obj_of(leaves: Leaves) -> Object:
    spec: dict[str, Any] = {}
    metadata: dict[str, Any] = {"namespace": "system", "name": "a"}
    for path, value in leaves.items():
        root, first, *rest = path.split(".")
        target = spec if root == "spec" else metadata
        if first == "after":
            target.setdefault(first, []).append(rest[0])
        else:
            *parents, last = first, *rest
            for name in parents:
                target = target.setdefault(name, {})
            target[last] = list(value) if isinstance(value, tuple) else value
    return Object(metadata=json_format.ParseDict(metadata, Metadata()), spec=pack(json_format.ParseDict(spec, Unit())))


def leaves_of(obj: Object) -> dict[str, Any]:
    values = metadata_values(obj.metadata) | field_values(BUILTIN.unpack(obj.spec), "spec.")
    return {path: value for path, value in values.items() if path in UNIVERSE}


class Server:
    """The verbs on a store in memory."""

    def __init__(self, host: Host, store: Store) -> None:
        self._backend = Backend(
            host=host,
            store=store,
            writer=Writer(store, Namespaces(host.clock, store), retries_max=1, waiters_per_key_max=1),
            types=KnownTypes(store, host.clock),
            config=ApiServerConfig(),
        )

    async def apply(self, owner: str, leaves: Leaves, force: bool) -> set[tuple[str, str]]:
        request = ApplyRequest(objects=[obj_of(leaves)], owner=owner, force=force)
        try:
            await apply(self._backend, request)
        except FieldConflictError as error:
            return {(item["owner"], item["field"]) for item in json.loads(error.metadata["fields"])}
        return set()

    async def put(self, owner: str, leaves: Leaves) -> None:
        request = PutRequest(objects=[obj_of(leaves)], owner=owner)
        await put(self._backend, request)

    async def patch(self, owner: str, leaves: Leaves, clears: set[str]) -> None:
        request = PatchRequest(object=obj_of(leaves), owner=owner)
        request.update_mask.paths.extend([*leaves, *sorted(clears)])
        await patch(self._backend, request)

    async def state(self) -> tuple[dict[str, Any], dict[str, set[str]]]:
        key = Key(type="api.systemd.Unit", namespace="system", name="a")
        answer = await get(self._backend, GetRequest(key=key, include_owners=True))
        found = GetResponse.FromString(answer.data)
        values = metadata_values(found.object.metadata) | field_values(BUILTIN.unpack(found.object.spec), "spec.")
        owned = {item.owner: set(item.fields) for item in found.owners.items}
        assert set().union(*owned.values()) == values.keys(), "every field has an owner, and no other has one"
        return leaves_of(found.object), {
            owner: leaves for owner, fields in owned.items() if (leaves := fields & UNIVERSE.keys())
        }


async def play(steps: list[tuple[str, str, Leaves, bool]]) -> None:
    host = Host(name="t", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness())
    store = await open_store(host, "memory:")
    server, model = Server(host, store), Model()
    try:
        for verb, owner, leaves, flag in steps:
            if verb == "apply":
                assert await server.apply(owner, leaves, flag) == model.apply(owner, leaves, flag)
            elif verb == "put":
                await server.put(owner, leaves)
                model.write(owner, leaves)
            elif model.leaves is not None:
                clears = set(UNIVERSE) - leaves.keys() if flag else set()
                await server.patch(owner, leaves, clears)
                model.patch(owner, leaves, clears)
            if model.leaves is None:
                continue
            found, owners = await server.state()
            assert found == model.leaves
            assert owners == {owner: fields for owner, fields in model.owners.items() if fields}
    finally:
        await store.close()


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_random_steps_agree_with_the_model(steps: list[tuple[str, str, Leaves, bool]]) -> None:
    asyncio.run(play(steps))
