"""The promises of UpdateStatus."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from rube.api import NodeStatus, Precondition, Unit, UnitStatus, UpdateStatusRequest, UpdateStatusResponse
from rube.api.errors import AbortedError, InvalidArgumentError, NotFoundError
from rube.api.types import BUILTIN, pack
from tests.conformance.api.api_sites import TYPE, Served, Site, key, serve, unit


async def update(api: Served, status: UnitStatus, **fields: Any) -> UpdateStatusResponse:
    request = UpdateStatusRequest(key=key("a"), status=pack(status), **fields)
    return await api.client.update_status(request)


async def stored_status(api: Served) -> UnitStatus:
    status = BUILTIN.unpack((await api.get("a")).status)
    assert isinstance(status, UnitStatus)
    return status


async def test_a_status_changes_nothing_but_status_and_revision(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", labels={"x": "1"}))
        before = await api.get("a")
        response = await update(api, UnitStatus(active_state="active"))
        after = await api.get("a")
        assert await stored_status(api) == UnitStatus(active_state="active")
        assert response.metadata == after.metadata
        assert after.metadata.revision == response.revision > before.metadata.revision
        after.metadata.revision = before.metadata.revision
        after.ClearField("status")
        assert after == before


async def test_an_unchanged_status_writes_nothing(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        first = await update(api, UnitStatus(active_state="active"))
        again = await update(api, UnitStatus(active_state="active"))
        assert (again.metadata, again.revision) == (first.metadata, first.revision)


async def test_a_mask_replaces_only_its_fields(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        await update(api, UnitStatus(active_state="active", sub_state="running"))
        changed = UnitStatus(active_state="failed", sub_state="ignored")
        await update(api, changed, update_mask=FieldMask(paths=["active_state"]))
        assert await stored_status(api) == UnitStatus(active_state="failed", sub_state="running")
        await update(api, UnitStatus(), update_mask=FieldMask(paths=["sub_state"]))
        assert await stored_status(api) == UnitStatus(active_state="failed")


async def test_a_mask_on_an_object_without_status_makes_one(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        given = UnitStatus(active_state="active", sub_state="x")
        await update(api, given, update_mask=FieldMask(paths=["active_state"]))
        assert await stored_status(api) == UnitStatus(active_state="active")


async def test_a_mask_with_an_unknown_field_is_refused(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        with pytest.raises(InvalidArgumentError, match="UnitStatus has no field 'sub_sate'; did you mean 'sub_state'"):
            await update(api, UnitStatus(), update_mask=FieldMask(paths=["active_state", "sub_sate"]))


async def test_the_status_of_another_incarnation_is_aborted(site: Site) -> None:
    async with serve(site) as api:
        uid = (await api.put(unit("a"))).metadata[0].uid
        await update(api, UnitStatus(active_state="active"), uid=uid)
        await api.delete("a")
        await api.put(unit("a"))
        with pytest.raises(AbortedError, match=uid):
            await update(api, UnitStatus(active_state="failed"), uid=uid)
        assert not (await api.get("a")).HasField("status")


async def test_an_observed_generation_never_goes_back(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", "one"))
        await api.put(unit("a", "two"))
        await update(api, UnitStatus(active_state="active"), observed_generation=2)
        assert (await stored_status(api)).observed_generation == 2
        with pytest.raises(AbortedError, match="about generation 1, but the stored one is about 2 already"):
            await update(api, UnitStatus(active_state="late"), observed_generation=1)
        with pytest.raises(AbortedError, match="about generation 3, but the object is at 2"):
            await update(api, UnitStatus(active_state="early"), observed_generation=3)
        masked = FieldMask(paths=["active_state"])
        await api.put(unit("a", "three"))
        await update(api, UnitStatus(active_state="new"), observed_generation=3, update_mask=masked)
        assert await stored_status(api) == UnitStatus(active_state="new", observed_generation=3)


async def test_a_status_with_a_stale_precondition_is_aborted(site: Site) -> None:
    async with serve(site) as api:
        first = await api.put(unit("a", "one"))
        await api.put(unit("a", "two"))
        stale = Precondition(revision=first.revision)
        with pytest.raises(AbortedError):
            await update(api, UnitStatus(active_state="active"), precondition=stale)


async def test_a_status_of_nothing_is_not_found(site: Site) -> None:
    async with serve(site) as api:
        with pytest.raises(NotFoundError, match=f"{TYPE}/system/a does not exist"):
            await update(api, UnitStatus())


async def test_a_status_of_the_wrong_type_is_refused(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        for status in (pack(NodeStatus()), pack(Unit())):
            with pytest.raises(InvalidArgumentError, match=r"not api\.systemd\.UnitStatus"):
                await api.client.update_status(UpdateStatusRequest(key=key("a"), status=status))
        with pytest.raises(InvalidArgumentError, match="status is empty"):
            await api.client.update_status(UpdateStatusRequest(key=key("a")))
        lease = key("a", type="api.Lease")
        with pytest.raises(InvalidArgumentError, match=r"objects of type api\.Lease have no status"):
            await api.client.update_status(UpdateStatusRequest(key=lease, status=status))


async def test_a_field_that_the_status_does_not_have_is_refused_unless_it_is_to_be_kept(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        odd = UnitStatus(active_state="active")
        odd.MergeFromString(b"\xa0\x1f\x01")
        with pytest.raises(InvalidArgumentError, match=r"500, which api\.systemd\.UnitStatus does not have"):
            await update(api, odd)
        await update(api, odd, keep_unknown_fields=True)
        assert await stored_status(api) == odd
        await update(api, UnitStatus(sub_state="running"), update_mask=FieldMask(paths=["sub_state"]))
        odd.sub_state = "running"
        assert await stored_status(api) == odd, "a field that is stored already is no caller's mistake"
