"""The promises of Put."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import Condition, GetRequest, Metadata, Node, Object, PutRequest, Unit, UnitStatus
from rube.api.errors import AbortedError, InvalidArgumentError, NotFoundError, ResourceExhaustedError, RubeError
from rube.api.types import BUILTIN, pack
from rube.api.types.violation import Violation
from rube.server import ApiServerConfig
from rube.server.backend import Backend
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.put import put
from rube.server.writes import Writer
from rube.store import StoreConfig, StoreLimits
from rube.units.spec_checks import built_in_spec_checks
from tests.conformance.api.api_sites import TYPE, Served, Site, key, serve, unit


async def refused(api: Served, *objects: Object, error: type[RubeError] = InvalidArgumentError) -> str:
    """The message of the error that the put ends with; nothing was written."""
    before = api.store.revision
    with pytest.raises(error) as raised:
        await api.put(*objects)
    assert api.store.revision == before
    return raised.value.message


async def test_a_new_object_gets_what_the_server_sets(site: Site) -> None:
    async with serve(site) as api:
        before_ns = site.host.clock.now_ns()
        response = await api.put(unit("a", labels={"tier": "web"}, annotations={"why": "test"}))
        (metadata,) = response.metadata
        assert (metadata.name, metadata.namespace, metadata.generation) == ("a", "system", 1)
        assert metadata.revision == metadata.create_revision == response.revision > 0
        assert len(metadata.uid) == 32
        assert before_ns <= metadata.create_time.ToNanoseconds() <= site.host.clock.now_ns()
        assert response.store_id == api.store.store_id
        stored = await api.get("a")
        assert stored.metadata == metadata
        assert dict(stored.metadata.labels) == {"tier": "web"}
        assert BUILTIN.unpack(stored.spec) == Unit(description="a")


async def test_an_unchanged_put_writes_nothing_and_answers_with_what_is_stored(site: Site) -> None:
    async with serve(site) as api:
        first = await api.put(unit("a", labels={"x": "1", "y": "2"}))
        await api.put(unit("b"))
        again = await api.put(unit("a", labels={"y": "2", "x": "1"}))
        assert again.metadata == first.metadata
        assert again.revision == api.store.revision == first.revision + 1


async def test_equality_is_judged_on_the_parsed_spec_not_on_its_bytes(site: Site) -> None:
    async with serve(site) as api:
        first = await api.put(unit("a", "text"))
        # The same message on the wire in another way: the field twice, of which the last counts.
        twice = Unit(description="x").SerializeToString() + Unit(description="text").SerializeToString()
        other = unit("a")
        other.spec.CopyFrom(Any(type_url=f"type.googleapis.com/{TYPE}", value=twice))
        assert (await api.put(other)).metadata == first.metadata


async def test_generation_counts_changes_of_the_spec_alone(site: Site) -> None:
    async with serve(site) as api:
        first = (await api.put(unit("a", "one"))).metadata[0]
        second = (await api.put(unit("a", "two"))).metadata[0]
        assert second.generation == 2
        labelled = (await api.put(unit("a", "two", labels={"x": "1"}))).metadata[0]
        annotated = (await api.put(unit("a", "two", labels={"x": "1"}, annotations={"y": "2"}))).metadata[0]
        assert (labelled.generation, annotated.generation) == (2, 2)
        assert first.revision < second.revision < labelled.revision < annotated.revision
        assert annotated.create_revision == first.revision
        assert (annotated.uid, annotated.create_time) == (first.uid, first.create_time)


async def test_a_put_replaces_labels_and_annotations(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", labels={"x": "1", "y": "2"}, annotations={"z": "3"}))
        await api.put(unit("a", labels={"x": "1"}))
        stored = await api.get("a")
        assert (dict(stored.metadata.labels), dict(stored.metadata.annotations)) == ({"x": "1"}, {})


async def test_a_put_without_the_node_label_keeps_the_binding_and_an_empty_one_unbinds(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", labels={"node": "worker-1", "x": "1"}))
        await api.put(unit("a", "changed"))
        assert dict((await api.get("a")).metadata.labels) == {"node": "worker-1"}
        await api.put(unit("a", "changed", labels={"node": "worker-2"}))
        assert dict((await api.get("a")).metadata.labels) == {"node": "worker-2"}
        await api.put(unit("a", "changed", labels={"node": ""}))
        assert dict((await api.get("a")).metadata.labels) == {}
        await api.put(unit("b", labels={"node": ""}))
        assert dict((await api.get("b")).metadata.labels) == {}


async def test_a_put_ignores_status_and_what_the_server_sets(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        await api.set_status("a", "active")
        stored = await api.get("a")
        given = unit("a", "changed", generation=77, create_revision=99, create_time=Timestamp(seconds=1))
        given.status.CopyFrom(pack(UnitStatus(active_state="failed")))
        await api.put(given)
        after = await api.get("a")
        assert after.status == stored.status
        assert (after.metadata.generation, after.metadata.create_revision) == (2, stored.metadata.create_revision)
        assert after.metadata.create_time == stored.metadata.create_time


async def test_several_objects_commit_at_one_revision_and_answer_in_order(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("b", "old"))
        response = await api.put(unit("c"), unit("a"), unit("b", "new"))
        assert [metadata.name for metadata in response.metadata] == ["c", "a", "b"]
        assert {metadata.revision for metadata in response.metadata} == {response.revision}


async def test_one_bad_object_keeps_all_from_being_written(site: Site) -> None:
    async with serve(site) as api:
        message = await refused(api, unit("a"), unit("Not_A_Label"))
        assert "objects[1]" in message
        assert "Not_A_Label" in message
        assert "metadata.name" in message


async def test_the_same_object_twice_in_one_put_is_refused(site: Site) -> None:
    async with serve(site) as api:
        assert f"{TYPE}/system/a is named twice" in await refused(api, unit("a"), unit("b"), unit("a", "other"))


async def test_a_put_of_nothing_is_refused(site: Site) -> None:
    async with serve(site) as api:
        assert "names no objects" in await refused(api)


async def test_bad_objects_are_refused_with_object_and_field(site: Site) -> None:
    async with serve(site) as api:
        empty = Object(metadata=Metadata(namespace="system", name="a"))
        assert "objects[0] (a) has no spec" in await refused(api, empty)
        unknown = Object(metadata=empty.metadata, spec=Any(type_url="rube/api.systemd.Unitt"))
        assert "did you mean" in await refused(api, unknown)
        garbled = Object(metadata=empty.metadata, spec=Any(type_url=f"rube/{TYPE}", value=b"\xff\xff"))
        assert f"({TYPE}/system/a)" in await refused(api, garbled)
        assert "metadata.namespace" in await refused(api, unit("a", namespace=""))
        assert "label key 'a b'" in await refused(api, unit("a", labels={"a b": "1"}))
        assert "finalizer 'x y' is not valid" in await refused(api, unit("a", finalizers=["x y"]))


async def test_an_object_past_the_stores_limit_is_refused_with_name_and_limit(site: Site) -> None:
    limits = StoreLimits(txn_ops_max=3, txn_bytes_max=4000, value_bytes_max=2000)
    async with serve(site, store=StoreConfig(limits=limits)) as api:
        message = await refused(api, unit("a", "x" * 2001), error=ResourceExhaustedError)
        assert f"{TYPE}/system/a has 2" in message
        assert "at most 2000 an object (value_bytes_max)" in message
        big = [unit(name, "x" * 1500) for name in "abc"]
        assert "at most 4000 at one revision (txn_bytes_max)" in await refused(api, *big, error=ResourceExhaustedError)
        many = [unit(name) for name in "abcd"]
        assert "4 objects" in await refused(api, *many, error=ResourceExhaustedError)
        assert "at most 3" in await refused(api, *many, error=ResourceExhaustedError)


async def test_a_delete_whose_events_would_be_too_large_for_one_revision_is_refused(site: Site) -> None:
    limits = StoreLimits(txn_ops_max=3, txn_bytes_max=4000, value_bytes_max=2000)
    async with serve(site, store=StoreConfig(limits=limits)) as api:
        for name in "abc":
            await api.put(unit(name, "x" * 1500))
        with pytest.raises(ResourceExhaustedError, match="use several requests"):
            await api.delete("a", "b", "c")
        await refused(api, unit("a", "y"), unit("b", "y"), unit("c", "y"), error=ResourceExhaustedError)
        await api.delete("a", "b")


async def test_a_five_megabyte_object_is_refused_and_the_server_lives(site: Site) -> None:
    async with serve(site) as api:
        assert "value_bytes_max" in await refused(api, unit("a", "x" * 5_000_000), error=ResourceExhaustedError)
        await api.put(unit("a"))


async def test_concurrent_puts_of_one_object_happen_one_after_the_other(site: Site) -> None:
    async with serve(site) as api:
        responses = await asyncio.gather(*(api.put(unit("a", f"text {number}")) for number in range(20)))
        generations = sorted(response.metadata[0].generation for response in responses)
        assert generations == list(range(1, 21))
        assert len({response.revision for response in responses}) == 20


async def test_an_object_that_carries_its_revision_replaces_exactly_that_one(site: Site) -> None:
    async with serve(site) as api:
        first = (await api.put(unit("a", "one"))).metadata[0]
        second = (await api.put(unit("a", "two", revision=first.revision))).metadata[0]
        assert second.generation == 2
        message = await refused(api, unit("a", "three", revision=first.revision), error=AbortedError)
        assert f"at revision {second.revision}, not {first.revision}" in message
        await refused(api, unit("new", revision=first.revision), error=AbortedError)


async def test_an_object_that_carries_a_uid_replaces_only_that_incarnation(site: Site) -> None:
    async with serve(site) as api:
        first = (await api.put(unit("a", "one"))).metadata[0]
        await api.put(unit("a", "two", uid=first.uid))
        await api.delete("a")
        await api.put(unit("a", "other"))
        assert first.uid in await refused(api, unit("a", "three", uid=first.uid), error=AbortedError)


async def test_objects_outside_namespaces(site: Site) -> None:
    async with serve(site) as api:
        node = Object(metadata=Metadata(name="worker-1"), spec=pack(Node()))
        await api.put(node)
        node_key = key("worker-1", type="api.Node", namespace="")
        assert (await api.client.get(GetRequest(key=node_key))).object.metadata.name == "worker-1"
        node.metadata.namespace = "system"
        assert "belongs to no namespace" in await refused(api, node)


async def test_a_spec_that_its_check_refuses_is_not_stored_and_all_is_named(site: Site) -> None:
    async with serve(site, spec_checks=built_in_spec_checks()) as api:
        with pytest.raises(
            InvalidArgumentError, match=r"system/a\): service\.exec\.start is missing.*system/b"
        ) as caught:
            await api.client.put(PutRequest(objects=[unit("a"), unit("b")]))
        assert caught.value.metadata["field"] == "objects[0].spec.service.exec.start"
        with pytest.raises(NotFoundError):
            await api.get("a")


async def test_a_spec_that_is_stored_already_is_not_checked_again(site: Site) -> None:
    async with serve(site) as api:
        stored = unit("old")

        def check(spec: bytes) -> Sequence[Violation]:
            return [Violation("description", "is wrong")]

        await api.put(stored)
        strict = ApiServerConfig(spec_checks={"api.systemd.Unit": check})
        backend = Backend(
            host=site.host,
            store=api.store,
            writer=Writer(api.store, Namespaces(site.host.clock, api.store), retries_max=1, waiters_per_key_max=10),
            types=KnownTypes(api.store, site.host.clock),
            config=strict,
        )
        stored.metadata.labels["node"] = "worker-1"
        response = await put(backend, PutRequest(objects=[stored]))
        assert response.metadata[0].labels["node"] == "worker-1"
        changed = unit("old", "another")
        with pytest.raises(InvalidArgumentError, match="description is wrong"):
            await put(backend, PutRequest(objects=[changed]))


# Fields that the type does not have

UNKNOWN = b"\xa0\x1f\x01"
"""Number 500."""


async def test_a_field_of_a_spec_that_its_type_does_not_have_is_refused_by_its_path(site: Site) -> None:
    async with serve(site) as api:
        odd = Unit(condition=[Condition(type="PathExists", value="/a")])
        odd.condition[0].MergeFromString(UNKNOWN)
        objects = [unit("a"), Object(metadata=unit("b").metadata, spec=pack(odd))]
        with pytest.raises(InvalidArgumentError) as caught:
            await api.client.put(PutRequest(objects=objects))
        text = "condition[0] has a field of number 500, which api.systemd.Condition does not have"
        assert f"objects[1] ({TYPE}/system/b): {text}" in caught.value.message
        assert [(field, rule) for field, _, rule in caught.value.violations] == [
            ("objects[1].spec.condition[0]", "unknown-field")
        ]
        with pytest.raises(NotFoundError):
            await api.get("a")


async def test_an_unknown_field_is_kept_where_the_client_asks_for_it_and_then_passes(site: Site) -> None:
    async with serve(site) as api:
        odd = Unit(description="x")
        odd.MergeFromString(UNKNOWN)
        wanted = Object(metadata=unit("a").metadata, spec=pack(odd))
        await api.client.put(PutRequest(objects=[wanted], keep_unknown_fields=True))
        assert (await api.get("a")).spec == pack(odd)
        wanted.metadata.labels["node"] = "worker-1"
        odd.description = "another"
        await api.put(Object(metadata=wanted.metadata, spec=pack(odd)))
        assert (await api.get("a")).spec == pack(odd), "what is stored already is no caller's mistake"
        odd.service.MergeFromString(UNKNOWN)
        wanted.spec.CopyFrom(pack(odd))
        assert "service has a field of number 500" in await refused(api, wanted)
