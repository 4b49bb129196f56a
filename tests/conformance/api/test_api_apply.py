"""Apply's promises beside the ownership of fields (test_api_apply_cases.py)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rube.api import (
    ApplyRequest,
    ApplyResponse,
    DeleteRequest,
    Fence,
    GetRequest,
    ListRequest,
    Object,
    OwnerReference,
    Precondition,
    PutRequest,
    PutResponse,
    Unit,
)
from rube.api.errors import (
    AbortedError,
    FieldConflictError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    RubeError,
)
from rube.api.types import BUILTIN, pack
from rube.client import Client
from rube.server import ApiServer, ApiServerConfig
from rube.server.owners import owners_key
from rube.store import StoreConfig, StoreLimits
from rube.units.spec_checks import built_in_spec_checks
from tests.conformance.api.api_sites import TYPE, Served, Site, key, serve, unit


async def apply(api: Served, *objects: Object, owner: str = "x", **request: Any) -> ApplyResponse:
    return await api.client.apply(ApplyRequest(objects=objects, owner=owner, **request))


async def refused(
    api: Served, *objects: Object, error: type[RubeError] = InvalidArgumentError, owner: str = "x", **request: Any
) -> RubeError:
    """The error that the apply ends with; nothing was written."""
    before = api.store.revision
    with pytest.raises(error) as raised:
        await apply(api, *objects, owner=owner, **request)
    assert api.store.revision == before
    return raised.value


async def owners_of(api: Served, name: str) -> dict[str, list[str]]:
    found = await api.client.get(GetRequest(key=key(name), include_owners=True))
    return {item.owner: list(item.fields) for item in found.owners.items}


def clear(name: str) -> Object:
    obj = unit(name)
    obj.spec.CopyFrom(pack(Unit()))
    return obj


async def test_it_answers_like_a_put(site: Site) -> None:
    async with serve(site) as api:
        created = await apply(api, unit("b"), unit("a", labels={"tier": "web"}))
        assert list(created.outcomes) == [PutResponse.CREATED] * 2
        assert [metadata.name for metadata in created.metadata] == ["b", "a"]
        assert {metadata.revision for metadata in created.metadata} == {created.revision}
        assert created.metadata[1] == (await api.get("a")).metadata
        assert created.metadata[1].field_owners
        assert created.metadata[1].generation == 1
        changed = await apply(api, unit("b", "other"), unit("a", labels={"tier": "web"}))
        assert list(changed.outcomes) == [PutResponse.CHANGED, PutResponse.UNCHANGED]
        assert (changed.metadata[0].generation, changed.metadata[0].revision) == (2, changed.revision)
        assert changed.metadata[1] == created.metadata[1]


async def test_the_same_apply_writes_nothing(site: Site) -> None:
    async with serve(site) as api:
        await apply(api, unit("a"))
        before = api.store.revision
        again = await apply(api, unit("a"))
        assert list(again.outcomes) == [PutResponse.UNCHANGED]
        assert api.store.revision == again.revision == before


async def test_another_owner_of_the_same_values_leaves_the_object_alone(site: Site) -> None:
    async with serve(site) as api:
        first = await apply(api, unit("a"))
        async with api.watch(after_revision=first.revision) as watched:
            second = await apply(api, unit("a"), owner="y")
            assert list(second.outcomes) == [PutResponse.UNCHANGED]
            assert second.metadata[0] == first.metadata[0]
            assert sorted(await owners_of(api, "a")) == ["x", "y"]
            await api.put(unit("b"))
            assert await watched.change() == "update b"


async def test_a_conflict_in_one_object_writes_none(site: Site) -> None:
    async with serve(site) as api:
        await apply(api, unit("a", "one"), unit("b", "one"))
        error = await refused(api, unit("c"), unit("a", "two"), unit("b", "two"), owner="y", error=FieldConflictError)
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", "FIELD_CONFLICT")
        assert error.metadata["conflicts"] == "2"
        assert json.loads(error.metadata["fields"]) == [
            {"key": f"{TYPE}/system/{name}", "owner": "x", "field": "spec.description"} for name in "ab"
        ]
        assert "force" in error.message
        with pytest.raises(NotFoundError):
            await api.get("c")
        forced = await apply(api, unit("c"), unit("a", "two"), unit("b", "two"), owner="y", force=True)
        assert list(forced.outcomes) == [PutResponse.CREATED, PutResponse.CHANGED, PutResponse.CHANGED]


async def test_an_error_of_many_conflicts_is_bounded(site: Site) -> None:
    async with serve(site) as api:
        names = [f"u{index}" for index in range(40)]
        await apply(api, *(unit(name, "one") for name in names))
        error = await refused(api, *(unit(name, "two") for name in names), owner="y", error=FieldConflictError)
        assert error.metadata["conflicts"] == "40"
        assert "and 20 more" in error.message
        assert len(error.message) < 4_000


async def test_validate_only_finds_conflicts_and_says_what_would_be(site: Site) -> None:
    async with serve(site) as api:
        would = await apply(api, unit("a", "one"), validate_only=True)
        assert list(would.outcomes) == [PutResponse.CREATED]
        assert api.store.revision == 0
        await apply(api, unit("a", "one", labels={"l": "1"}))
        other = clear("a")
        other.metadata.labels["m"] = "2"
        before = api.store.revision
        would = await apply(api, other, owner="y", validate_only=True)
        assert list(would.outcomes) == [PutResponse.CHANGED]
        assert dict(would.objects[0].metadata.labels) == {"l": "1", "m": "2"}
        assert BUILTIN.unpack(would.objects[0].spec) == Unit(description="one")
        await refused(api, unit("a", "two"), owner="y", error=FieldConflictError, validate_only=True)
        assert api.store.revision == before


async def test_preconditions_and_fences_hold(site: Site) -> None:
    async with serve(site) as api:
        first = (await apply(api, unit("a"))).metadata[0]
        stale = [Precondition(revision=first.revision + 1)]
        await refused(api, unit("a", "b"), error=AbortedError, preconditions=stale)
        await refused(api, unit("a", "b", uid="other"), error=AbortedError)
        absent = [Precondition(absent=True)]
        await refused(api, unit("a", "b"), error=AbortedError, preconditions=absent)
        held = [Precondition(revision=first.revision)]
        await apply(api, unit("a", "b"), preconditions=held, fence=Fence(group="g", term=2))
        await refused(api, unit("a", "c"), error=AbortedError, fence=Fence(group="g", term=1))


@pytest.mark.parametrize("owner", ["", "put", "a b", " a", "x" * 129, "a\n"])
async def test_who_applies_has_a_name(site: Site, owner: str) -> None:
    async with serve(site) as api:
        error = await refused(api, unit("a"), owner=owner)
        assert error.metadata["field"] == "owner"


async def test_bad_objects_are_refused_with_object_and_field(site: Site) -> None:
    async with serve(site, spec_checks=built_in_spec_checks()) as api:
        assert "names no objects" in (await refused(api)).message
        assert "named twice" in (await refused(api, unit("a"), unit("a"))).message
        assert "objects[0]" in (await refused(api, unit("a", namespace=""))).message
        assert "service.exec.start is missing" in (await refused(api, unit("a"))).message
    async with serve(site) as api:
        twice = unit("a", owner_references=[OwnerReference(uid="1"), OwnerReference(uid="1", name="b")])
        assert "metadata.owner_references: 1 is the key of two items" in (await refused(api, twice)).message
        nameless = unit("a", owner_references=[OwnerReference(name="b")])
        assert "metadata.owner_references: an item has no uid" in (await refused(api, nameless)).message
        doubled = unit("a")
        doubled.spec.CopyFrom(pack(Unit(after=["b", "b"])))
        assert "spec.after: b is in the list twice" in (await refused(api, doubled)).message
        unknown = unit("a")
        unknown.spec.value += b"\xfa\x3e\x01x"
        assert "does not have" in (await refused(api, unknown)).message


async def test_what_results_of_a_merge_is_checked(site: Site) -> None:
    async with serve(site) as api:
        half = "x" * 150_000
        await apply(api, unit("a", annotations={"a": half}))
        error = await refused(api, unit("a", annotations={"b": half}), owner="y")
        assert "annotations have 300002 bytes" in error.message
        assert f"{TYPE}/system/a), as merged" in error.message


async def test_objects_of_an_apply_count_twice(site: Site) -> None:
    limits = StoreLimits(txn_ops_max=4, txn_bytes_max=1_000_000, value_bytes_max=1_000_000)
    async with serve(site, store=StoreConfig(limits=limits)) as api:
        await apply(api, unit("a"), unit("b"))
        error = await refused(api, unit("a"), unit("b"), unit("c"), error=ResourceExhaustedError)
        assert error.metadata["limit"] == "4"
        with pytest.raises(ResourceExhaustedError, match="the field owners of 2 objects are kept"):
            await api.put(unit("a", "2"), unit("b", "2"), unit("c"))


async def test_owners_are_nowhere_but_in_an_answer_that_was_asked_for_them(site: Site) -> None:
    async with serve(site) as api, api.watch(send_initial=True) as watched:
        assert await watched.lines(1) == ["bookmark end"]
        await apply(api, unit("a"))
        assert await watched.change() == "update a"
        listed = await api.client.list_objects(ListRequest(type=TYPE))
        assert [obj.metadata.name for obj in listed.items] == ["a"]
        assert not (await api.client.get(GetRequest(key=key("a")))).HasField("owners")
        await api.delete("a")
        assert await watched.change() == "delete a"
        assert (await api.store.get((owners_key(f"{TYPE}/system/a".encode()),))).records == [None]


async def test_without_an_apply_every_field_is_that_of_put_and_nothing_is_kept(site: Site) -> None:
    async with serve(site) as api:
        metadata = (await api.client.put(PutRequest(objects=[unit("a", labels={"b": "c"})], owner="me"))).metadata[0]
        assert not metadata.field_owners
        assert await owners_of(api, "a") == {"put": ["metadata.labels.b", "spec.description"]}
        assert (await api.store.get((owners_key(f"{TYPE}/system/a".encode()),))).records == [None]


async def test_an_object_as_it_was_read_can_be_put_again(site: Site) -> None:
    async with serve(site) as api:
        await apply(api, unit("a"))
        stored = await api.get("a")
        assert (await api.put(stored)).outcomes == [PutResponse.UNCHANGED]
        other = unit("b", field_owners=True)
        assert not (await api.put(other)).metadata[0].field_owners


async def test_deleted_objects_take_their_owners_along(site: Site) -> None:
    async with serve(site) as api:
        await apply(api, unit("a"), unit("b"))
        await api.client.delete(DeleteRequest(keys=[key("a"), key("b")]))
        await api.put(unit("a"))
        assert sorted(await owners_of(api, "a")) == ["put"]


async def test_two_servers_of_one_store_lose_no_field(site: Site) -> None:
    async with serve(site) as api:
        other = ApiServer(site.host, api.store, ApiServerConfig(listen=("127.0.0.1:0",)))
        (address,) = await other.start()
        try:
            async with Client(site.host, [address]) as second:

                async def applies(client: Client, owner: str) -> None:
                    for count in range(8):
                        obj = clear("a")
                        obj.metadata.labels[owner] = str(count)
                        await client.apply(ApplyRequest(objects=[obj], owner=owner))

                owners = ("x", "y", "z")
                await asyncio.gather(*(applies(second if owner == "y" else api.client, owner) for owner in owners))
        finally:
            await other.stop(1.0)
        assert dict((await api.get("a")).metadata.labels) == dict.fromkeys(owners, "7")
        assert await owners_of(api, "a") == {owner: [f"metadata.labels.{owner}"] for owner in owners}


async def test_a_field_that_its_type_does_not_have_is_kept_where_the_client_asks_for_it(site: Site) -> None:
    async with serve(site) as api:
        spec = Unit(description="x")
        spec.MergeFromString(b"\xa2\x1f\x01x")
        odd = unit("a")
        odd.spec.CopyFrom(pack(spec))
        assert "a field of number 500, which api.systemd.Unit does not have" in (await refused(api, odd)).message
        await apply(api, odd, keep_unknown_fields=True)
        assert (await api.get("a")).spec == pack(spec)
        unchanged = await apply(api, odd)
        assert list(unchanged.outcomes) == [PutResponse.UNCHANGED], "what is stored already is no caller's mistake"
        other = unit("a")
        other.spec.CopyFrom(pack(Unit(after=["b"])))
        await apply(api, other, owner="y")
        spec.after.append("b")
        assert (await api.get("a")).spec == pack(spec)
