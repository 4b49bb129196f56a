"""The promises of Patch."""

from __future__ import annotations

from typing import Any

import pytest

from rube.api import (
    Fence,
    Object,
    OwnerReference,
    PatchRequest,
    PatchResponse,
    Precondition,
    PutResponse,
    Service,
    Unit,
)
from rube.api.errors import (
    AbortedError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    RubeError,
)
from rube.api.types import BUILTIN, pack
from rube.units.spec_checks import built_in_spec_checks
from tests.conformance.api.api_sites import Served, Site, serve, unit


def named(spec: Unit | None = None, name: str = "a", **metadata: Any) -> Object:
    obj = unit(name, **metadata)
    obj.spec.CopyFrom(pack(spec or Unit()))
    return obj


async def patch(api: Served, obj: Object, *paths: str, **request: Any) -> PatchResponse:
    wanted = PatchRequest(object=obj, **request)
    wanted.update_mask.paths.extend(paths)
    return await api.client.patch(wanted)


async def refused(
    api: Served, obj: Object, *paths: str, error: type[RubeError] = InvalidArgumentError, **request: Any
) -> str:
    """The message of the error that the patch ends with; nothing was written."""
    before = api.store.revision
    with pytest.raises(error) as raised:
        await patch(api, obj, *paths, **request)
    assert api.store.revision == before
    return raised.value.message


async def spec_of(api: Served, name: str = "a") -> Unit:
    spec = BUILTIN.unpack((await api.get(name)).spec)
    assert isinstance(spec, Unit)
    return spec


async def test_a_field_of_the_mask_changes_and_nothing_else(site: Site) -> None:
    async with serve(site) as api:
        service = Service(environment={"A": "1"}, user="app")
        await api.put(named(Unit(description="one", service=service), labels={"x": "1"}, annotations={"n": "1"}))
        await api.set_status("a", "active")
        before = await api.get("a")
        given = named(Unit(description="not in the mask", service=Service(user="web")), labels={"x": "2"})
        response = await patch(api, given, "spec.service.user")
        after = await api.get("a")
        assert response.object == after
        assert response.outcome == PutResponse.CHANGED
        assert response.revision == after.metadata.revision == before.metadata.revision + 1
        assert after.metadata.generation == before.metadata.generation + 1
        assert after.status == before.status
        service.user = "web"
        assert await spec_of(api) == Unit(description="one", service=service)
        assert (dict(after.metadata.labels), dict(after.metadata.annotations)) == ({"x": "1"}, {"n": "1"})


async def test_a_patch_of_labels_alone_leaves_the_generation(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named(labels={"x": "1", "y": "1"}))
        response = await patch(api, named(labels={"x": "2"}), "metadata.labels.x")
        assert dict(response.object.metadata.labels) == {"x": "2", "y": "1"}
        assert response.object.metadata.generation == 1


async def test_an_unchanged_patch_writes_nothing(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named(Unit(description="x")))
        before = api.store.revision
        response = await patch(api, named(Unit(description="x")), "spec.description")
        assert (response.outcome, api.store.revision) == (PutResponse.UNCHANGED, before)
        assert response.object == await api.get("a")


async def test_a_field_that_is_not_set_in_the_object_is_cleared(site: Site) -> None:
    async with serve(site) as api:
        full = Unit(description="x", after=["b"], service=Service(user="app", environment={"A": "1", "B": "2"}))
        await api.put(named(full, labels={"x": "1", "y": "2"}, annotations={"n": "1"}))
        paths = ("spec.after", "spec.service.environment.A", "metadata.labels.x", "metadata.annotations")
        await patch(api, named(), *paths)
        assert await spec_of(api) == Unit(description="x", service=Service(user="app", environment={"B": "2"}))
        stored = await api.get("a")
        assert (dict(stored.metadata.labels), dict(stored.metadata.annotations)) == ({"y": "2"}, {})
        await patch(api, named(), "spec.service.user", "spec.start_limit.burst")
        assert await spec_of(api) == Unit(description="x", service=Service(environment={"B": "2"}))
        await patch(api, named(), "spec.service")
        assert await spec_of(api) == Unit(description="x")


async def test_messages_and_lists_are_replaced_as_a_whole(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named(Unit(service=Service(user="app", group="app"), doc_url=["http:a", "http:b"])))
        given = named(Unit(service=Service(user="web"), doc_url=["http:c"]))
        await patch(api, given, "spec.service", "spec.doc_url")
        assert await spec_of(api) == Unit(service=Service(user="web"), doc_url=["http:c"])


async def test_the_whole_spec_can_be_named(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named(Unit(description="x", doc_url=["http:a"]), labels={"x": "1"}))
        response = await patch(api, named(Unit(description="y")), "spec")
        assert await spec_of(api) == Unit(description="y")
        assert dict(response.object.metadata.labels) == {"x": "1"}


async def test_keys_with_dots_are_quoted_or_end_the_path(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named())
        given = named(Unit(after=["c.d"]), labels={"example.com/a": "1", "b": "2"}, annotations={"x.y": "3"})
        paths = ("metadata.labels.`example.com/a`", "metadata.annotations.x.y", "spec.after.`c.d`")
        response = await patch(api, given, *paths)
        assert dict(response.object.metadata.labels) == {"example.com/a": "1"}
        assert dict(response.object.metadata.annotations) == {"x.y": "3"}
        assert await spec_of(api) == Unit(after=["c.d"])


async def test_items_of_keyed_lists_are_patched_by_key(site: Site) -> None:
    async with serve(site) as api:
        one, two, other = (
            OwnerReference(type="api.Node", uid=uid, name=name)
            for uid, name in (("1", "one"), ("2", "two"), ("2", "x"))
        )
        await api.put(named(Unit(after=["x"]), owner_references=[one, two]))
        given = named(Unit(after=["y"]), owner_references=[other])
        response = await patch(api, given, "metadata.owner_references.2.name", "spec.after.y", "spec.after.x")
        assert list(response.object.metadata.owner_references) == [one, other]
        assert await spec_of(api) == Unit(after=["y"])


async def test_without_a_mask_the_fields_that_are_set_change(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named(Unit(description="x", service=Service(user="app")), labels={"x": "1"}))
        response = await patch(api, named(Unit(service=Service(group="web")), labels={"y": "2"}))
        assert await spec_of(api) == Unit(description="x", service=Service(user="app", group="web"))
        assert dict(response.object.metadata.labels) == {"x": "1", "y": "2"}


async def test_a_star_replaces_what_a_put_replaces(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named(Unit(description="x", doc_url=["http:a"]), labels={"x": "1"}, annotations={"n": "1"}))
        response = await patch(api, named(Unit(description="y"), labels={"y": "2"}), "*")
        assert await spec_of(api) == Unit(description="y")
        assert dict(response.object.metadata.labels) == {"y": "2"}
        assert dict(response.object.metadata.annotations) == {}


async def test_a_patch_binds_unbinds_and_takes_back_requests(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named(labels={"node": "worker-1"}, annotations={"rube/restart": "1"}))
        await patch(api, named(Unit(description="x")), "spec.description")
        assert dict((await api.get("a")).metadata.labels) == {"node": "worker-1"}
        await patch(api, named(labels={"node": "worker-2"}), "metadata.labels.node")
        assert dict((await api.get("a")).metadata.labels) == {"node": "worker-2"}
        await patch(api, named(), "metadata.labels.node", "metadata.annotations.rube/restart")
        stored = (await api.get("a")).metadata
        assert (dict(stored.labels), dict(stored.annotations)) == ({}, {})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("spec.servce.user", ["'spec.servce.user'", "api.systemd.Unit has no field 'servce'", "'service'"]),
        ("spec.service.usr", ["api.systemd.Service has no field 'usr'", "'user'"]),
        ("spec.description.x", ["spec.description has no fields of its own"]),
        ("spec.doc_url.0", ["spec.doc_url has no fields of its own: a list is named as a whole"]),
        ("spec.service.environment.`A", ["backquote"]),
        ("spc.description", ["api.Object has no field 'spc'", "'spec'"]),
        ("status", ["UpdateStatus"]),
        ("status.active_state", ["UpdateStatus"]),
        ("metadata", ["metadata.labels", "metadata.annotations"]),
        ("metadata.lables.x", ["api.Metadata has no field 'lables'", "'labels'"]),
        ("metadata.generation", ["the server sets it"]),
        ("metadata.field_owners", ["the server sets it"]),
        ("metadata.create_time.seconds", ["metadata.create_time has no fields of its own: it is one value"]),
        ("metadata.name", ["key", "never changes"]),
        ("metadata.uid", ["the server sets it"]),
        ("", ["api.Object has no field ''"]),
        ("spec.", ["has no field ''"]),
    ],
)
async def test_a_wrong_path_names_itself_the_message_and_what_was_meant(
    site: Site, path: str, words: list[str]
) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        message = await refused(api, named(), "spec.description", path)
        assert "api.systemd.Unit/system/a" in message
        for word in words:
            assert word in message


async def test_an_absent_object_is_not_found_and_the_type_must_be_named(site: Site) -> None:
    async with serve(site) as api:
        assert "api.systemd.Unit/system/b does not exist" in await refused(
            api, named(name="b"), "spec.description", error=NotFoundError
        )
        await api.put(unit("a"))
        untyped = named()
        untyped.ClearField("spec")
        assert "names the type" in await refused(api, untyped, "metadata.labels.x")
        assert "metadata.namespace" in await refused(api, unit("a", namespace=""), "metadata.labels.x")


async def test_what_results_is_checked_like_a_put(site: Site) -> None:
    async with serve(site, spec_checks=built_in_spec_checks()) as api:
        await api.put(named(Unit(service=Service(exec=Service.Exec(start=["/bin/true"])))))
        assert "service.exec.start is missing" in await refused(api, named(), "spec.service.exec.start")
        assert "label key 'a b'" in await refused(api, named(labels={"a b": "1"}), "metadata.labels.`a b`")
        assert "finalizer 'x y' is" in await refused(api, named(finalizers=["x y"]), "metadata.finalizers")


async def test_a_patch_adds_finalizers_and_removes_none(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named(finalizers=["x"]))
        response = await patch(api, named(finalizers=["y"]), "metadata.finalizers.y")
        assert list(response.object.metadata.finalizers) == ["x", "y"]
        assert "UpdateLifecycle removes it" in await refused(api, named(finalizers=["y"]), "metadata.finalizers")


async def test_preconditions_fences_and_validate_only_work_as_in_a_put(site: Site) -> None:
    async with serve(site) as api:
        first = (await api.put(named(Unit(description="x")))).metadata[0]
        changed = named(Unit(description="y"))
        stale = [Precondition(revision=first.revision + 7)]
        assert "has changed" in await refused(api, changed, "spec.description", error=AbortedError, preconditions=stale)
        own = named(Unit(description="y"), uid="other")
        assert "is a newer object" in await refused(api, own, "spec.description", error=AbortedError)
        before = api.store.revision
        would = await patch(api, changed, "spec.description", validate_only=True)
        assert (api.store.revision, would.outcome) == (before, PutResponse.CHANGED)
        assert BUILTIN.unpack(would.object.spec) == Unit(description="y")
        assert (would.object.metadata.revision, would.object.metadata.generation) == (first.revision, 2)
        held = [Precondition(revision=first.revision, uid=first.uid)]
        fence = Fence(group="g", term=2)
        done = await patch(api, changed, "spec.description", preconditions=held, fence=fence)
        assert done.outcome == PutResponse.CHANGED
        older = Fence(group="g", term=1)
        assert "newer leader" in await refused(api, named(), "spec.description", error=AbortedError, fence=older)


async def test_masks_and_owners_have_bounds(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        assert "1001 paths" in await refused(api, named(), *["spec.description"] * 1001)
        assert "owner 'a b' is no name" in await refused(api, named(), "spec.description", owner="a b")
        long = named(Unit(description="x" * 3_000_000))
        assert "value_bytes_max" in await refused(api, long, "spec.description", error=ResourceExhaustedError)


UNKNOWN = b"\xa2\x1f\x01x"
"""Field 500, the text "x"."""


async def test_a_field_that_its_type_does_not_have_is_refused_or_kept_at_any_depth(site: Site) -> None:
    async with serve(site) as api:
        await api.put(named(Unit(description="a", service=Service(nice=3))))
        odd = Unit(service=Service(title="b"))
        odd.service.MergeFromString(UNKNOWN)
        for paths in ((), ("spec.service",), ("spec",)):
            text = await refused(api, named(odd), *paths)
            assert "service has a field of number 500, which api.systemd.Service does not have" in text
        await patch(api, named(odd), keep_unknown_fields=True)
        assert (await spec_of(api)).service.SerializeToString().endswith(UNKNOWN)
        odd.service.MergeFromString(b"\xa2\x1f\x01y")  # another of that number
        odd.MergeFromString(UNKNOWN)
        again = [await patch(api, named(odd), keep_unknown_fields=True) for _ in range(2)]
        assert [found.outcome for found in again] == [PutResponse.CHANGED, PutResponse.UNCHANGED]
        expected = Unit(description="a", service=Service(title="b", nice=3))
        expected.service.MergeFromString(UNKNOWN + b"\xa2\x1f\x01y")
        expected.MergeFromString(UNKNOWN)
        assert await spec_of(api) == expected
        await patch(api, named(Unit(description="c")))
        expected.description = "c"
        assert await spec_of(api) == expected, "what is stored stays"
