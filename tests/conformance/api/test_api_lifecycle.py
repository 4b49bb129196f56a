"""The promises of deletion: finalizers hold an object, and the write that removes the last one deletes it."""

from __future__ import annotations

from typing import Any

import pytest

from rube.api import (
    DeleteRequest,
    DeleteResponse,
    GetRequest,
    Key,
    Metadata,
    Namespace,
    Object,
    OwnerReference,
    Precondition,
    PutRequest,
    PutResponse,
    UpdateLifecycleRequest,
    UpdateLifecycleResponse,
)
from rube.api.errors import AbortedError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from rube.api.types import pack
from tests.conformance.api.api_sites import TYPE, Served, Site, key, serve, unit

FOREGROUND, ORPHAN, BACKGROUND = DeleteRequest.FOREGROUND, DeleteRequest.ORPHAN, DeleteRequest.BACKGROUND


async def change(api: Served, name: str = "a", **fields: Any) -> UpdateLifecycleResponse:
    return await api.client.update_lifecycle(UpdateLifecycleRequest(key=key(name), **fields))


async def delete(api: Served, name: str = "a", **fields: Any) -> DeleteResponse:
    return await api.client.delete(DeleteRequest(keys=[key(name)], **fields))


async def is_gone(api: Served, name: str = "a") -> bool:
    try:
        await api.get(name)
    except NotFoundError:
        return True
    return False


async def test_an_object_with_finalizers_is_marked_and_stays(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["acme.example/unmount"]))
        before = await api.get("a")
        answer = await delete(api)
        obj = await api.get("a")
        assert obj.metadata.revision == answer.revision > before.metadata.revision
        assert obj.metadata.HasField("delete_time")
        assert (obj.metadata.generation, obj.spec) == (before.metadata.generation, before.spec)
        (deletion,) = answer.deletions
        assert (deletion.gone, list(deletion.finalizers)) == (False, ["acme.example/unmount"])
        assert (deletion.uid, deletion.delete_time) == (obj.metadata.uid, obj.metadata.delete_time)


async def test_an_object_without_finalizers_goes_at_once(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        answer = await delete(api)
        assert [deletion.gone for deletion in answer.deletions] == [True]
        assert await is_gone(api)


async def test_deleting_again_is_no_error_and_writes_nothing(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["x"]))
        first = await delete(api)
        second = await delete(api)
        assert second.deletions == first.deletions
        assert (await api.get("a")).metadata.revision == first.revision


async def test_the_write_that_removes_the_last_finalizer_deletes(site: Site) -> None:
    async with serve(site) as api:
        put = await api.put(unit("a", finalizers=["x", "y"]))
        async with api.watch(after_revision=put.revision) as watch:
            await delete(api)
            kept = await change(api, remove_finalizers=["x"])
            assert (kept.gone, list(kept.metadata.finalizers)) == (False, ["y"])
            last = await change(api, remove_finalizers=["y"])
            assert last.gone
            assert await is_gone(api)
            assert [await watch.change() for _ in range(3)] == ["update a", "update a", "delete a"]


async def test_removing_the_last_finalizer_of_an_object_that_is_not_deleted_keeps_it(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["x"]))
        assert not (await change(api, remove_finalizers=["x"])).gone
        assert not (await api.get("a")).metadata.finalizers


async def test_a_put_keeps_the_finalizers_that_it_leaves_out_and_adds_others(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["x"]))
        unchanged = await api.put(unit("a"))
        assert list(unchanged.outcomes) == [PutResponse.UNCHANGED]
        await api.put(unit("a", finalizers=["y", "x"]))
        assert list((await api.get("a")).metadata.finalizers) == ["x", "y"]


async def test_an_object_under_deletion_takes_a_new_spec_and_no_new_finalizer(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["x"]))
        await delete(api)
        await api.put(unit("a", "changed"))
        obj = await api.get("a")
        assert (obj.metadata.generation, obj.metadata.HasField("delete_time")) == (2, True)
        await api.put(unit("a", "changed", finalizers=["x"]))
        with pytest.raises(FailedPreconditionError, match="is being deleted, so finalizer 'y' cannot be added"):
            await api.put(unit("a", finalizers=["x", "y"]))
        with pytest.raises(FailedPreconditionError, match="'y' cannot be added"):
            await change(api, add_finalizers=["y"])


async def test_what_was_read_can_be_put_back(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["x"]))
        await delete(api)
        answer = await api.put(await api.get("a"))
        assert list(answer.outcomes) == [PutResponse.UNCHANGED]


async def test_two_writers_remove_their_finalizers_without_disturbing_each_other(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["x", "y"]))
        uid = (await api.get("a")).metadata.uid
        await change(api, uid=uid, remove_finalizers=["x"])
        await change(api, uid=uid, remove_finalizers=["y"])
        again = await change(api, uid=uid, remove_finalizers=["y"])
        assert not again.metadata.finalizers
        assert (await api.get("a")).metadata.revision == again.metadata.revision


async def test_a_lifecycle_change_of_another_object_of_the_name_is_aborted(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["x"]))
        with pytest.raises(AbortedError, match="is a newer object"):
            await change(api, uid="other", remove_finalizers=["x"])
        with pytest.raises(AbortedError, match="b does not exist, but must"):
            await change(api, preconditions=[Precondition(key=key("b"), uid="u")], remove_finalizers=["x"])
        with pytest.raises(NotFoundError):
            await change(api, "c", remove_finalizers=["x"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "changes nothing"),
        ({"add_finalizers": ["a b"]}, "finalizer 'a b' is not valid"),
        ({"add_finalizers": ["a", "a"]}, "names a finalizer twice"),
        ({"add_finalizers": ["a"], "remove_finalizers": ["a"]}, "'a' is to be added and removed"),
        ({"add_finalizers": [f"f{number}" for number in range(33)]}, "33 names, more than 32"),
    ],
)
async def test_a_bad_lifecycle_change_is_refused(site: Site, fields: Any, message: str) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        with pytest.raises(InvalidArgumentError, match=message):
            await change(api, **fields)


async def test_propagation_is_kept_as_a_finalizer_and_can_be_changed(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        assert list((await delete(api, propagation=FOREGROUND)).deletions[0].finalizers) == ["foreground-deletion"]
        assert list((await delete(api)).deletions[0].finalizers) == ["foreground-deletion"]
        assert list((await delete(api, propagation=ORPHAN)).deletions[0].finalizers) == ["orphan"]
        assert (await delete(api, propagation=BACKGROUND)).deletions[0].gone
        assert await is_gone(api)


async def test_a_delete_that_is_only_validated_says_what_would_wait(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", finalizers=["x"]))
        answer = await delete(api, validate_only=True)
        assert list(answer.deletions[0].finalizers) == ["x"]
        assert not (await api.get("a")).metadata.HasField("delete_time")


async def test_owners_can_be_removed_by_uid(site: Site) -> None:
    async with serve(site) as api:
        owners = [OwnerReference(type=TYPE, namespace="system", name=name, uid=name) for name in ("b", "c")]
        await api.put(unit("a", owner_references=owners))
        await change(api, remove_owners=["b", "stranger"])
        assert [owner.uid for owner in (await api.get("a")).metadata.owner_references] == ["c"]


@pytest.mark.parametrize(
    ("owner", "message"),
    [
        (OwnerReference(type=TYPE, namespace="other", name="b", uid="u"), "in the same namespace, or outside"),
        (OwnerReference(type=TYPE, namespace="system", name="b"), r"owner_references\[0\] has no uid"),
        (OwnerReference(type=TYPE, name="b", uid="u"), "has no metadata.namespace"),
        (OwnerReference(type="api.Nod", name="b", uid="u"), "did you mean"),
    ],
)
async def test_an_owner_that_can_be_none_is_refused(site: Site, owner: OwnerReference, message: str) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match=message):
            await api.put(unit("a", owner_references=[owner]))


async def test_an_owner_may_be_outside_namespaces_and_own_nothing_twice(site: Site) -> None:
    async with serve(site) as api:
        owner = OwnerReference(type="api.Node", name="worker-1", uid="u")
        await api.put(unit("a", owner_references=[owner]))
        with pytest.raises(InvalidArgumentError, match="names uid u again"):
            await api.put(unit("a", owner_references=[owner, owner]))


async def test_a_namespace_waits_for_its_contents_unless_they_are_to_stay(site: Site) -> None:
    async with serve(site) as api:
        namespace = Object(metadata=Metadata(name="shop"), spec=pack(Namespace()))
        named = Key(type="core.Namespace", name="shop")
        await api.client.put(PutRequest(objects=[namespace]))
        answer = await api.client.delete(DeleteRequest(keys=[named]))
        assert list(answer.deletions[0].finalizers) == ["namespace-contents"]
        assert (await api.client.get(GetRequest(key=named))).object.metadata.HasField("delete_time")
        answer = await api.client.delete(DeleteRequest(keys=[named], propagation=ORPHAN))
        assert list(answer.deletions[0].finalizers) == ["orphan"]


def namespace(name: str) -> Object:
    return Object(metadata=Metadata(name=name), spec=pack(Namespace()))


async def test_nothing_new_can_be_put_into_a_namespace_under_deletion(site: Site) -> None:
    async with serve(site) as api:
        await api.put(namespace("system"))
        await api.put(unit("a"))
        named = Key(type="core.Namespace", name="system")
        await api.client.delete(DeleteRequest(keys=[named]))
        with pytest.raises(FailedPreconditionError, match=r"namespace 'system' is being deleted since .* wait until"):
            await api.put(unit("b"))
        await api.put(unit("a", "changed"))
        await api.put(unit("c", namespace="other"))
        await api.client.update_lifecycle(UpdateLifecycleRequest(key=named, remove_finalizers=["namespace-contents"]))
        await api.put(unit("b"))


async def test_a_put_that_loses_a_race_with_its_namespaces_deletion_is_refused(site: Site) -> None:
    async with serve(site) as api:
        await api.put(namespace("system"))
        commit, named = api.store.commit, Key(type="core.Namespace", name="system")

        async def late(txn: Any) -> int:
            if any(op.key.endswith(b"/b") for op in txn.ops):
                api.store.commit = commit  # type: ignore[method-assign]
                await api.client.delete(DeleteRequest(keys=[named]))
            return await commit(txn)

        api.store.commit = late  # type: ignore[method-assign]
        with pytest.raises(FailedPreconditionError, match="namespace 'system' is being deleted"):
            await api.put(unit("b"))


async def test_the_clusters_own_namespaces_are_no_objects(site: Site) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match="'node-leases' is the cluster's own"):
            await api.put(namespace("node-leases"))
