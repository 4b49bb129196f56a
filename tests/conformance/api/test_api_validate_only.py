"""The results of a put for each object, and the promises of put and delete with `validate_only`."""

from __future__ import annotations

import re

import pytest

from rube.api import (
    DeleteRequest,
    Fence,
    Object,
    Precondition,
    PutRequest,
    PutResponse,
    UnitStatus,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
)
from rube.api.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    RubeError,
)
from rube.api.types import BUILTIN, pack
from rube.store import StoreConfig, StoreLimits
from tests.conformance.api.api_sites import Served, Site, key, serve, unit

Outcome = PutResponse


async def try_put(api: Served, *objects: Object, **request: object) -> PutResponse:
    """A put with validate_only, which must leave the store as it is."""
    before = api.store.revision
    try:
        return await api.client.put(
            PutRequest(objects=objects, validate_only=True, **request)  # type: ignore[arg-type]
        )
    finally:
        assert api.store.revision == before


async def test_a_put_says_what_became_of_each_object(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("same"), unit("other", "old"), unit("labelled"))
        response = await api.put(
            unit("same"), unit("new"), unit("other", "new"), unit("labelled", labels={"tier": "web"})
        )
        assert list(response.outcomes) == [Outcome.UNCHANGED, Outcome.CREATED, Outcome.CHANGED, Outcome.CHANGED]
        assert not response.objects


async def test_validate_only_answers_with_what_the_put_then_stores(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("changed", "old", labels={"node": "worker-1"}), unit("same"))
        await api.set_status("changed", "active")
        wanted = unit("changed", "new"), unit("same"), unit("created", labels={"node": "", "x": "1"})
        prospect = await try_put(api, *wanted)
        assert list(prospect.outcomes) == [Outcome.CHANGED, Outcome.UNCHANGED, Outcome.CREATED]
        assert list(prospect.metadata) == [obj.metadata for obj in prospect.objects]
        changed, same, created = prospect.objects
        assert changed.metadata.labels["node"] == "worker-1", "a put that omits the label keeps the binding"
        assert changed.metadata.generation == 2
        assert BUILTIN.unpack(changed.status) == UnitStatus(active_state="active")
        assert dict(created.metadata.labels) == {"x": "1"}
        await api.put(*wanted)
        for seen in (changed, same, created):
            stored = await api.get(seen.metadata.name)
            if seen is created:
                assert not (seen.metadata.uid)
                assert not (seen.metadata.revision)
                assert not (seen.metadata.HasField("create_time"))
                for field in ("uid", "create_time", "create_revision"):
                    stored.metadata.ClearField(field)
            stored.metadata.revision = seen.metadata.revision
            assert seen == stored


async def test_validate_only_says_the_revision_that_is_there_now(site: Site) -> None:
    async with serve(site) as api:
        first = await api.put(unit("a", "old"))
        (prospect,) = (await try_put(api, unit("a", "new"))).metadata
        assert prospect.revision == first.metadata[0].revision
        assert prospect.uid == first.metadata[0].uid


@pytest.mark.parametrize(
    ("error", "obj", "request_fields"),
    [
        (InvalidArgumentError, unit("no name!"), {}),
        (AbortedError, unit("there"), {"preconditions": [Precondition(absent=True)]}),
        (AbortedError, unit("absent"), {"preconditions": [Precondition(revision=1)]}),
        (AbortedError, unit("there"), {"fence": Fence(group="g", term=1)}),
        (ResourceExhaustedError, unit("large", "x" * 5_000), {}),
    ],
    ids=["a bad name", "must be absent", "must exist", "an old term", "too large"],
)
async def test_validate_only_refuses_what_a_put_refuses(
    site: Site, error: type[RubeError], obj: Object, request_fields: dict[str, object]
) -> None:
    async with serve(
        site, store=StoreConfig(limits=StoreLimits(txn_ops_max=9, value_bytes_max=4_000, txn_bytes_max=40_000))
    ) as api:
        await api.put(unit("there"))
        await api.client.put(PutRequest(objects=[unit("led")], fence=Fence(group="g", term=2)))
        with pytest.raises(error) as dry:
            await try_put(api, obj, **request_fields)
        with pytest.raises(error) as real:
            await api.client.put(PutRequest(objects=[obj], **request_fields))  # type: ignore[arg-type]
        # The time of creation is in the object's size, and has more digits at one time than at another.
        assert re.sub(r"has \d+ bytes", "", dry.value.message) == re.sub(r"has \d+ bytes", "", real.value.message)


async def test_a_fence_is_not_raised_by_validate_only(site: Site) -> None:
    async with serve(site) as api:
        await try_put(api, unit("a"), fence=Fence(group="g", term=9))
        await api.client.put(PutRequest(objects=[unit("a")], fence=Fence(group="g", term=1)))


async def test_a_delete_with_validate_only_deletes_nothing(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        before = api.store.revision
        await api.client.delete(DeleteRequest(keys=[key("a")], validate_only=True))
        assert (await api.get("a")).metadata.name == "a"
        with pytest.raises(NotFoundError):
            await api.client.delete(DeleteRequest(keys=[key("a"), key("b")], validate_only=True))
        stale = Precondition(key=key("a"), uid="other")
        with pytest.raises(AbortedError):
            await api.client.delete(DeleteRequest(keys=[key("a")], preconditions=[stale], validate_only=True))
        assert api.store.revision == before


async def test_a_status_with_validate_only_answers_with_what_it_would_store(site: Site) -> None:
    async with serve(site) as api:
        created = (await api.put(unit("a"))).metadata[0]
        status = pack(UnitStatus(active_state="active"))
        wanted = UpdateStatusRequest(key=key("a"), uid=created.uid, status=status, validate_only=True)
        prospect = await api.client.update_status(wanted)
        assert BUILTIN.unpack(prospect.object.status) == UnitStatus(active_state="active")
        assert prospect.object.metadata == prospect.metadata == created
        assert not (await api.get("a")).HasField("status")
        for stale in ({"uid": "other"}, {"precondition": Precondition(revision=created.revision + 7)}):
            with pytest.raises(AbortedError):
                await api.client.update_status(
                    UpdateStatusRequest(key=key("a"), status=status, validate_only=True, **stale)
                )
        assert api.store.revision == prospect.revision == created.revision
        wanted.validate_only = False
        stored = await api.client.update_status(wanted)
        assert not stored.HasField("object")
        prospect.object.metadata.revision = stored.revision
        assert await api.get("a") == prospect.object


async def test_a_change_of_finalizers_with_validate_only_answers_with_what_it_would_store(site: Site) -> None:
    async with serve(site) as api:
        created = (await api.put(unit("a", finalizers=["example.com/x"]))).metadata[0]
        wanted = UpdateLifecycleRequest(key=key("a"), add_finalizers=["example.com/y"], validate_only=True)
        prospect = await api.client.update_lifecycle(wanted)
        assert list(prospect.metadata.finalizers) == ["example.com/x", "example.com/y"]
        assert (prospect.metadata.revision, prospect.gone) == (created.revision, False)
        await api.delete("a")
        marked = await api.get("a")
        last = UpdateLifecycleRequest(key=key("a"), remove_finalizers=["example.com/x"], validate_only=True)
        assert (await api.client.update_lifecycle(last)).gone
        with pytest.raises(FailedPreconditionError):
            await api.client.update_lifecycle(wanted)
        assert await api.get("a") == marked
        assert api.store.revision == marked.metadata.revision
