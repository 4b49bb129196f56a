"""The writes of objects beyond put, on every store: patch, apply, finalizers, owners, namespaces.

Each test takes several promises together, for a bounded time on ten stores; tests/conformance/api has them one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    GetRequest,
    Key,
    Metadata,
    Namespace,
    Object,
    OwnerReference,
    PatchRequest,
    PutRequest,
    Service,
    Unit,
    UpdateLifecycleRequest,
)
from rube.api.errors import (
    AbortedError,
    FailedPreconditionError,
    FieldConflictError,
    NotFoundError,
)
from rube.api.types import pack
from rube.client import Client
from rube.controllers.cluster.controllers import ClusterControllers, ClusterControllersConfig
from rube.server import ApiServer, ApiServerConfig
from rube.store.engines.memory import MemoryEngine, VolatileDisk
from tests.conformance.api.api_sites import Served, key, unit
from tests.conformance.store.store_sites import Site, open_store

WITHIN_S = 30


@asynccontextmanager
async def serve(site: Site) -> AsyncIterator[Served]:
    """An apiserver on the site's store; a later one finds what this one stored."""
    store = await open_store(site)
    server = ApiServer(site.host, store, ApiServerConfig(listen=("127.0.0.1:0",)))
    (address,) = await server.start()
    async with Client(site.host, [address]) as client:
        try:
            yield Served(host=site.host, store=store, server=server, address=address, client=client)
        finally:
            await server.stop(0.0)
            await store.close()


def wanted(name: str, spec: Unit) -> Object:
    obj = unit(name)
    obj.spec.CopyFrom(pack(spec))
    return obj


def patch_of(name: str, spec: Unit, *paths: str, **request: object) -> PatchRequest:
    made = PatchRequest(object=wanted(name, spec), **request)  # type: ignore[arg-type]
    made.update_mask.paths.extend(paths)
    return made


def spec_of(obj: Object) -> Unit:
    spec = Unit()
    obj.spec.Unpack(spec)
    return spec


async def is_gone(api: Served, about: Key) -> bool:
    try:
        await api.client.get(GetRequest(key=about))
    except NotFoundError:
        return True
    return False


def hears_of_none(server: ApiServer) -> None:
    """Leaves the server in the belief that no namespace has an object, as one whose watch is late."""
    server._namespaces._known = set()


async def until(api: Served, holds: Callable[[], Awaitable[bool]]) -> None:
    async with api.host.clock.timeout(WITHIN_S):
        while not await holds():
            await api.host.clock.sleep(0.05)


async def test_a_patch_changes_what_it_names_and_only_over_what_it_demands(site: Site) -> None:
    async with serve(site) as api:
        put = await api.put(unit("a", "old", labels={"tier": "web"}))
        restart = Unit(service=Service(restart=Service.ALWAYS))
        tried = await api.client.patch(patch_of("a", restart, "spec.service.restart", validate_only=True))
        assert spec_of(tried.object).service.restart == Service.ALWAYS
        assert (await api.get("a")).metadata.revision == put.revision == api.store.revision
        answer = await api.client.patch(patch_of("a", restart, "spec.service.restart"))
        stored = await api.get("a")
        assert stored == answer.object
        assert (spec_of(stored).description, spec_of(stored).service.restart) == ("old", Service.ALWAYS)
        assert (stored.metadata.labels["tier"], stored.metadata.generation) == ("web", 2)
        stale = patch_of("a", Unit(description="new"), "spec.description")
        stale.object.metadata.revision = put.revision
        with pytest.raises(AbortedError) as raised:
            await api.client.patch(stale)
        assert raised.value.metadata["revision"] == str(stored.metadata.revision)
        with pytest.raises(NotFoundError):
            await api.client.patch(patch_of("absent", Unit(), "spec.description"))
        assert await api.get("a") == stored


async def test_patches_of_different_fields_at_once_lose_none(site: Site) -> None:
    async def label(api: Served, number: int) -> None:
        request = patch_of("a", Unit(), f"metadata.labels.l{number}")
        request.object.metadata.labels[f"l{number}"] = "x"
        await api.client.patch(request)

    async with serve(site) as api:
        await api.put(unit("a"))
        await asyncio.gather(*(label(api, number) for number in range(8)))
        assert sorted((await api.get("a")).metadata.labels) == [f"l{number}" for number in range(8)]


async def test_who_owns_a_field_is_kept_with_the_object_and_goes_with_it(site: Site) -> None:
    async def apply(api: Served, owner: str, spec: Unit, *, force: bool = False) -> None:
        await api.client.apply(ApplyRequest(objects=[wanted("a", spec)], owner=owner, force=force))

    async def owners(api: Served) -> list[str]:
        found = await api.client.get(GetRequest(key=key("a"), include_owners=True))
        return [item.owner for item in found.owners.items]

    async with serve(site) as api:
        await apply(api, "blue", Unit(description="blue", doc_url=["http://a"]))
        await apply(api, "green", Unit(enabled=True))
        assert await owners(api) == ["blue", "green"]
    async with serve(site) as api:
        before = api.store.revision
        with pytest.raises(FieldConflictError, match=r"'blue' owns spec\.description"):
            await apply(api, "green", Unit(enabled=True, description="green"))
        assert api.store.revision == before
        await apply(api, "green", Unit(enabled=True, description="green"), force=True)
        await apply(api, "blue", Unit())
        spec = spec_of(await api.get("a"))
        assert (spec.description, list(spec.doc_url), spec.enabled) == ("green", [], True)
        await api.delete("a")
        await api.put(unit("a"))
        assert await owners(api) == ["put"], "none is kept"


async def test_an_apply_of_several_objects_is_at_one_revision_or_not_at_all(site: Site) -> None:
    async with serve(site) as api:
        await api.client.apply(ApplyRequest(objects=[wanted("b", Unit(description="b"))], owner="blue"))
        before = api.store.revision
        objects = [wanted("a", Unit(description="a")), wanted("b", Unit(description="other"))]
        with pytest.raises(FieldConflictError):
            await api.client.apply(ApplyRequest(objects=objects, owner="green"))
        assert api.store.revision == before
        assert await is_gone(api, key("a"))
        answer = await api.client.apply(ApplyRequest(objects=objects, owner="green", force=True))
        assert [(await api.get(name)).metadata.revision for name in "ab"] == [answer.revision] * 2


async def test_applies_of_different_owners_at_once_lose_none(site: Site) -> None:
    async def apply(api: Served, number: int) -> None:
        mine = Object(metadata=Metadata(namespace="system", name="a", labels={f"l{number}": "x"}), spec=pack(Unit()))
        await api.client.apply(ApplyRequest(objects=[mine], owner=f"o{number}"))

    async with serve(site) as api:
        await asyncio.gather(*(apply(api, number) for number in range(8)))
        found = await api.client.get(GetRequest(key=key("a"), include_owners=True))
        assert sorted(found.object.metadata.labels) == [f"l{number}" for number in range(8)]
        assert [item.owner for item in found.owners.items] == [f"o{number}" for number in range(8)]


async def test_finalizers_hold_an_object_across_a_restart_and_the_last_one_lets_it_go(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["x", "y"]))
        answer = await api.delete("a")
        assert [deletion.gone for deletion in answer.deletions] == [False]
    async with serve(site) as api:
        held = await api.get("a")
        assert held.metadata.HasField("delete_time")
        with pytest.raises(FailedPreconditionError, match="'z' cannot be added"):
            await api.client.update_lifecycle(UpdateLifecycleRequest(key=key("a"), add_finalizers=["z"]))
        async with api.watch(after_revision=held.metadata.revision) as watch:
            for name in ("x", "y"):
                request = UpdateLifecycleRequest(key=key("a"), uid=held.metadata.uid, remove_finalizers=[name])
                last = await api.client.update_lifecycle(request)
            assert last.gone
            assert [await watch.change() for _ in range(2)] == ["update a", "delete a"]
        assert await is_gone(api, key("a"))


@asynccontextmanager
async def collecting(api: Served) -> AsyncIterator[None]:
    """Runs the garbage collector beside the server."""
    engine = await MemoryEngine.open(VolatileDisk(), "memory:")
    config = ClusterControllersConfig(names=("garbage-collector",))
    running = asyncio.create_task(ClusterControllers(api.host, api.client, engine, config).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await engine.close()


def owned_by(owner: Object, name: str) -> Object:
    obj = unit(name)
    metadata = owner.metadata
    obj.metadata.owner_references.append(
        OwnerReference(
            type="api.systemd.Unit",
            namespace="system",
            name=metadata.name,
            uid=metadata.uid,
            block_deletion=True,
        )
    )
    return obj


async def test_the_owned_go_with_their_owner_or_before_it_or_stay(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("back"), unit("fore"), unit("leave"))
        for name in ("back", "fore", "leave"):
            await api.put(owned_by(await api.get(name), f"{name}-owned"))
        for name, how in (("fore", DeleteRequest.FOREGROUND), ("leave", DeleteRequest.ORPHAN)):
            answer = await api.client.delete(DeleteRequest(keys=[key(name)], propagation=how))
            assert [deletion.gone for deletion in answer.deletions] == [False], "the garbage collector does not run"
        await api.delete("back")
        async with collecting(api):
            for name in ("back", "fore", "leave", "back-owned", "fore-owned"):
                await until(api, lambda name=name: is_gone(api, key(name)))  # type: ignore[misc]
            left = await api.get("leave-owned")
        assert not left.metadata.owner_references


async def test_a_namespace_under_deletion_takes_nothing_new_and_goes_when_it_is_empty(site: Site) -> None:
    about = Key(type="core.Namespace", name="system")
    async with serve(site) as api:
        namespace = Object(metadata=Metadata(name="system"), spec=pack(Namespace()))
        await api.client.put(PutRequest(objects=[namespace]))
        await api.put(unit("a"), unit("b", finalizers=["x"]))
        hears_of_none(api.server)
        await api.put(unit("c"))
        answer = await api.client.delete(DeleteRequest(keys=[about]))
        assert [deletion.gone for deletion in answer.deletions] == [False]
        with pytest.raises(FailedPreconditionError, match="namespace 'system' is being deleted"):
            await api.put(unit("new"))
        async with collecting(api):
            await until(api, lambda: is_gone(api, key("a")))
            assert not await is_gone(api, about)
            await api.client.update_lifecycle(UpdateLifecycleRequest(key=key("b"), remove_finalizers=["x"]))
            await until(api, lambda: is_gone(api, about))
            assert await is_gone(api, key("b"))
            assert await is_gone(api, key("c"))
        await api.put(unit("new"))
