"""Types that are pushed at run time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from rube.api import (
    DeleteRequest,
    GetRequest,
    Key,
    ListRequest,
    Object,
    PutRequest,
    PutResponse,
    Type,
    TypeGate,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
)
from rube.api.errors import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from rube.api.keys import TYPE_TYPE
from rube.api.types import pack
from rube.server import ApiServer, ApiServerConfig, type_writes
from rube.server.known_types import gate_key, type_key
from rube.store import Op, Txn
from tests.conformance.api.api_sites import Served, Site, serve, unit
from tests.pushed_types import BACKUP, FIELDS, backup, backup_type, kind_from, names, spec_of

WITH_KEEP = {**FIELDS, "keep": 3}


async def listed(api: Served, type_name: str = BACKUP) -> list[str]:
    return names((await api.client.list_objects(ListRequest(type=type_name))).items)


def backup_key(name: str) -> Key:
    return Key(type=BACKUP, namespace="default", name=name)


async def test_objects_of_a_pushed_type_are_put_read_watched_and_deleted(site: Site) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match=r"acme\.Backup"):
            await api.put(backup("db"))
        pushed = await api.put(backup_type())
        assert list(pushed.outcomes) == [PutResponse.CREATED]
        async with api.watch(type=BACKUP) as watched:
            await watched.event()
            await api.put(backup("db", schedule="daily"))
            event = await watched.event()
            assert spec_of(event.update).schedule == "daily"  # type: ignore[attr-defined]
            stored = (await api.client.get(GetRequest(key=backup_key("db")))).object
            assert stored.metadata.generation == 1
            assert spec_of(stored).schedule == "daily"  # type: ignore[attr-defined]
            assert await listed(api) == ["db"]
            await api.client.delete(DeleteRequest(keys=[backup_key("db")]))
            assert await watched.change() == "delete db"
        assert await listed(api) == []


async def test_a_pushed_type_has_a_status_of_its_own(site: Site) -> None:
    async with serve(site) as api:
        await api.put(backup_type())
        await api.put(backup("db"))
        status_class = kind_from(backup_type()).status
        assert status_class is not None
        status = pack(status_class(state="done"))
        await api.client.update_status(UpdateStatusRequest(key=backup_key("db"), status=status, observed_generation=1))
        stored = (await api.client.get(GetRequest(key=backup_key("db")))).object
        assert status_class.FromString(stored.status.value) == status_class(state="done", observed_generation=1)
        with pytest.raises(InvalidArgumentError, match=r"status is acme\.Backup, not acme\.BackupStatus"):
            await api.client.update_status(UpdateStatusRequest(key=backup_key("db"), status=backup("x").spec))


async def test_an_unchanged_push_writes_nothing(site: Site) -> None:
    async with serve(site) as api:
        await api.put(backup_type())
        await api.put(backup("db"))
        again = await api.put(backup_type())
        assert list(again.outcomes) == [PutResponse.UNCHANGED]


async def test_a_cluster_wide_type_has_no_namespaces(site: Site) -> None:
    pushed = backup_type(scope="CLUSTER")
    async with serve(site) as api:
        await api.put(pushed)
        await api.put(backup("db", of=pushed))
        inside = backup("db")
        with pytest.raises(InvalidArgumentError, match="belongs to no namespace"):
            await api.put(inside)


async def test_a_new_version_is_known_at_once_and_a_watch_goes_on(site: Site) -> None:
    newer = backup_type(WITH_KEEP)
    async with serve(site) as api:
        await api.put(backup_type())
        await api.put(backup("db", schedule="daily"))
        async with api.watch(type=BACKUP, send_initial=True) as watched:
            assert await watched.lines(2) == ["update db", "bookmark end"]
            await api.put(newer)
            await api.put(backup("web", of=newer, keep="7"))
            event = await watched.event()
            while event.WhichOneof("event") == "bookmark":
                event = await watched.event()
            assert spec_of(event.update, newer).keep == "7"  # type: ignore[attr-defined]


async def test_a_version_that_stored_objects_do_not_fit_is_refused_with_their_names(site: Site) -> None:
    narrow = backup_type({"schedule": 1})
    async with serve(site) as api:
        await api.put(backup_type())
        for number in range(12):
            await api.put(backup(f"b{number:02}", schedule="daily", target="s3" if number else ""))
        with pytest.raises(FailedPreconditionError) as refused:
            await api.client.put(PutRequest(objects=[narrow], allow_breaking=True))
        assert "does not fit 11 of its objects: acme.Backup/default/b01: it has field 2 in spec set" in (
            refused.value.message
        )
        assert "and 1 more objects" in refused.value.message
        await api.put(backup("later", target="s3"))  # the present version holds on
        stored = (await api.client.get(GetRequest(key=Key(type=TYPE_TYPE, name=BACKUP)))).object
        assert stored.metadata.generation == 1


async def test_a_version_that_misreads_the_bytes_of_the_present_one_is_refused_with_the_rule(site: Site) -> None:
    renumbered = backup_type({"schedule": 2, "target": 1, "keep": 3})
    retyped = backup_type({"schedule": 1, "target": 2}, types={"target": FieldDescriptorProto.TYPE_UINT32})
    async with serve(site) as api:
        await api.put(backup_type())
        with pytest.raises(FailedPreconditionError, match=r"acme\.Backup.*FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED"):
            await api.put(backup_type({"schedule": 1}))
        with pytest.raises(FailedPreconditionError, match=r"acme\.Backup.*\(FIELD_WIRE_COMPATIBLE_TYPE\)"):
            await api.put(retyped)
        await api.client.put(PutRequest(objects=[retyped], allow_breaking=True))
        await api.client.put(PutRequest(objects=[backup_type()], allow_breaking=True))
        await api.put(renumbered)  # two texts that change places: the bytes are read, and the names are theirs


async def test_a_write_during_a_push_that_the_new_version_would_refuse_ends_the_push(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = backup_type({"schedule": 1})
    compare = type_writes._compare

    async with serve(site) as api:

        async def slow(*arguments: Any, **named: Any) -> None:
            await compare(*arguments, **named)
            await api.put(backup("fits", schedule="daily"))  # goes through, and does not end the push
            await api.put(backup("late", target="s3"))

        await api.put(backup_type())
        monkeypatch.setattr(type_writes, "_compare", slow)
        with pytest.raises(
            FailedPreconditionError, match=r"was not pushed: acme\.Backup/default/late was written meanwhile: it has"
        ):
            await api.client.put(PutRequest(objects=[narrow], allow_breaking=True))
        assert await listed(api) == ["fits", "late"]


async def test_a_write_during_a_push_that_the_new_version_takes_does_not_end_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = type_writes._compare

    async with serve(site) as api:

        async def slow(*arguments: Any, **named: Any) -> None:
            await compare(*arguments, **named)
            await api.put(backup("meanwhile", schedule="daily"))

        await api.put(backup_type())
        monkeypatch.setattr(type_writes, "_compare", slow)
        assert list((await api.put(backup_type(WITH_KEEP))).outcomes) == [PutResponse.CHANGED]


async def test_a_type_with_objects_is_not_deleted(site: Site) -> None:
    async with serve(site) as api:
        await api.put(backup_type())
        await api.put(backup("a"), backup("b"))
        type_key = Key(type=TYPE_TYPE, name=BACKUP)
        with pytest.raises(FailedPreconditionError, match=r"type acme\.Backup has 2 objects: delete them first"):
            await api.client.delete(DeleteRequest(keys=[type_key]))
        await api.put(backup("c"))  # it is open again
        await api.client.delete(DeleteRequest(keys=[backup_key(name) for name in "abc"]))
        await api.client.delete(DeleteRequest(keys=[type_key]))
        with pytest.raises(InvalidArgumentError, match=r"acme\.Backup"):
            await api.put(backup("d"))
        with pytest.raises(NotFoundError, match=r"api\.Type/acme\.Backup does not exist"):
            await api.client.delete(DeleteRequest(keys=[type_key]))
        await api.put(backup_type({"schedule": 7}))  # another type of the same name
        with pytest.raises(InvalidArgumentError):
            await api.client.get(GetRequest(key=Key(type=BACKUP, name="a")))


async def test_a_put_during_a_deletion_of_its_type_ends_the_deletion(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = type_writes._count

    async with serve(site) as api:

        async def slow(*arguments: Any) -> int:
            found = await count(*arguments)
            await api.put(backup("late"))
            return found

        await api.put(backup_type())
        monkeypatch.setattr(type_writes, "_count", slow)
        with pytest.raises(FailedPreconditionError, match=r"was not deleted: acme\.Backup/default/late was written"):
            await api.client.delete(DeleteRequest(keys=[Key(type=TYPE_TYPE, name=BACKUP)]))
        assert await listed(api) == ["late"]


async def test_two_servers_of_one_store_know_a_type_at_once(site: Site) -> None:
    async with serve(site) as api:
        other = ApiServer(site.host, api.store, ApiServerConfig(listen=("127.0.0.1:0",)))
        (address,) = await other.start()
        from rube.client import Client

        async with Client(site.host, [address]) as second:
            for generation, fields in enumerate(({"schedule": 1}, FIELDS, WITH_KEEP)):
                version = backup_type(fields)
                await api.put(version)
                newest = list(fields)[-1]
                await second.put(PutRequest(objects=[backup(f"b{generation}", of=version, **{newest: "x"})]))
            with pytest.raises(FailedPreconditionError, match="does not fit 1 of its objects"):
                await api.client.put(PutRequest(objects=[backup_type({"target": 2, "keep": 3})], allow_breaking=True))
            assert len((await second.list_objects(ListRequest(type=BACKUP))).items) == 3
        await other.stop(1.0)


async def test_a_restarted_server_knows_the_types(site: Site) -> None:
    if site.store_url == "memory:":
        pytest.skip("nothing outlives this store")
    async with serve(site) as api:
        await api.put(backup_type())
        await api.put(backup("db"))
    async with serve(site) as api:
        assert await listed(api) == ["db"]
        await api.put(backup("web"))


async def test_a_push_of_several_types_overwrites_no_other_push(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    other = backup_type({"a": 1}, name="acme.Job", file="acme/job.proto")
    changed = backup_type({"a": 1, "b": 2}, name="acme.Job", file="acme/job.proto")
    compare = type_writes._compare

    async with serve(site) as api:

        async def slow(*arguments: Any) -> None:
            await compare(*arguments)
            monkeypatch.setattr(type_writes, "_compare", compare)
            await api.put(backup_type(WITH_KEEP))

        await api.put(backup_type(), other)
        monkeypatch.setattr(type_writes, "_compare", slow)
        with pytest.raises(AbortedError, match="another client"):
            await api.put(backup_type(), changed)
        stored = (await api.client.get(GetRequest(key=Key(type=TYPE_TYPE, name=BACKUP)))).object
        assert stored.metadata.generation == 2


async def test_the_scope_of_a_type_does_not_change(site: Site) -> None:
    async with serve(site) as api:
        await api.put(backup_type())
        with pytest.raises(FailedPreconditionError, match=r"the scope of acme\.Backup cannot change"):
            await api.put(backup_type(scope="CLUSTER"))


@pytest.mark.parametrize("narrow", [FieldDescriptorProto.TYPE_INT32, FieldDescriptorProto.TYPE_BOOL])
async def test_a_version_in_which_a_stored_value_is_another_one_is_refused(site: Site, narrow: Any) -> None:
    wide = backup_type({"count": 1}, types={"count": FieldDescriptorProto.TYPE_INT64})
    narrowed = backup_type({"count": 1}, types={"count": narrow})
    async with serve(site) as api:
        await api.put(wide)
        await api.put(backup("small", of=wide, count=1))
        await api.put(narrowed)
        await api.put(wide)
        await api.put(backup("large", of=wide, count=2**32 + 1))
        with pytest.raises(FailedPreconditionError, match=r"default/large: a value in its spec is another one"):
            await api.put(narrowed)


async def test_a_type_has_no_finalizers(site: Site) -> None:
    held = backup_type()
    held.metadata.finalizers.append("acme.com/keep")
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match="a type has no finalizers"):
            await api.put(held)
        await api.put(backup_type())
        request = UpdateLifecycleRequest(key=Key(type=TYPE_TYPE, name=BACKUP), add_finalizers=["acme.com/keep"])
        with pytest.raises(InvalidArgumentError, match="a type has no finalizers"):
            await api.client.update_lifecycle(request)


async def test_a_push_that_fails_leaves_nothing_to_do_behind(site: Site) -> None:
    async with serve(site) as api:
        await api.put(backup_type())
        stale = backup_type(WITH_KEEP)
        stale.metadata.revision = 1_000
        with pytest.raises(AbortedError, match="has changed"):
            await api.put(stale)
        found = (await api.store.get([gate_key(BACKUP)])).records[0]
        assert found is not None
        assert TypeGate.FromString(found.value).WhichOneof("work") is None


async def test_a_type_that_a_server_cannot_read_is_refused_replaced_and_deleted(site: Site) -> None:
    async with serve(site) as api:
        await api.put(backup_type())
        await api.put(backup("db"))
        record = (await api.store.get([type_key(BACKUP)])).records[0]
        assert record is not None
        broken = Object.FromString(record.value)
        broken.spec.CopyFrom(pack(Type()))
        await api.store.commit(Txn((Op(type_key(BACKUP), broken.SerializeToString()), Op(gate_key(BACKUP), b""))))
        with pytest.raises(FailedPreconditionError, match=r"this apiserver cannot read it .*push the type again"):
            await api.put(backup("web"))
        await api.put(backup_type())
        await api.put(backup("web"))
        assert await listed(api) == ["db", "web"]


async def test_types_and_other_objects_are_put_apart(site: Site) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match="put types in a request of their own"):
            await api.put(backup_type(), unit("a"))


async def test_several_types_are_pushed_at_one_revision_or_not_at_all(site: Site) -> None:
    async with serve(site) as api:
        broken = backup_type(name="acme.Target", file="acme/target.proto", columns=[{"name": "X", "path": "spec.nope"}])
        with pytest.raises(InvalidArgumentError, match=r"objects\[1\] \(acme\.Target\): .* no field 'nope'"):
            await api.put(backup_type(), broken)
        assert await listed(api, TYPE_TYPE) == []
        await api.put(backup_type(), backup_type(name="acme.Target", file="acme/target.proto"))
        assert await listed(api, TYPE_TYPE) == ["acme.Backup", "acme.Target"]


@pytest.mark.parametrize(
    ("pushed", "error"),
    [
        (backup_type(name="api.systemd.Unit"), r"api\.systemd\.Unit is built in"),
        (backup_type(short_names=["unit"]), r"the short name 'unit' is api\.systemd\.Unit's"),
        (backup_type(short_names=["Not A Name"]), r"short_names\[0\] 'Not A Name' is no short name"),
        (backup_type(columns=[{"name": "", "path": "spec.target"}]), r"columns\[0\]\.name '' is no head"),
        (backup_type(columns=[{"name": "A", "path": "target"}]), r"columns\[0\]\.path 'target' begins with neither"),
        (backup_type(status="acme.Nothing"), r"acme\.Nothing"),
        (Object(metadata=backup_type().metadata, spec=AnyMessage(type_url="rube/api.Type")), r"there are no files"),
    ],
)
async def test_a_type_that_is_wrong_is_refused(site: Site, pushed: Object, error: str) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match=error):
            await api.put(pushed)
        assert await listed(api, TYPE_TYPE) == []


async def test_a_dry_run_of_a_push_says_what_stands_in_its_way_and_writes_nothing(site: Site) -> None:
    async with serve(site) as api:
        await api.put(backup_type())
        await api.put(backup("db", target="s3"))
        before = api.store.revision
        narrow = PutRequest(objects=[backup_type({"schedule": 1})], allow_breaking=True, validate_only=True)
        with pytest.raises(FailedPreconditionError, match="does not fit 1 of its objects"):
            await api.client.put(narrow)
        answer = await api.client.put(PutRequest(objects=[backup_type(WITH_KEEP)], validate_only=True))
        assert list(answer.outcomes) == [PutResponse.CHANGED]
        assert api.store.revision == before


async def test_puts_go_on_while_many_objects_are_compared(site: Site) -> None:
    async with serve(site) as api:
        await api.put(backup_type())
        for start in range(0, 600, 100):
            await api.put(*(backup(f"b{number}") for number in range(start, start + 100)))
        pushing = asyncio.create_task(api.put(backup_type(WITH_KEEP)))
        puts = 0
        while not pushing.done():
            await api.put(backup(f"during-{puts}"))
            puts += 1
        assert puts
        assert list((await pushing).outcomes) == [PutResponse.CHANGED]


async def test_a_message_without_the_option_is_no_type(site: Site) -> None:
    plain = backup_type()
    pushed = Type.FromString(plain.spec.value)
    pushed.files.file[0].message_type[0].ClearField("options")
    plain.spec.CopyFrom(pack(pushed))
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match=r"acme\.Backup has no option \(api\.resource\)"):
            await api.put(plain)


async def test_the_option_is_shown_as_the_resource_and_cannot_differ_from_it(site: Site) -> None:
    async with serve(site) as api:
        await api.put(backup_type(short_names=["bk"]))
        stored = (await api.client.get(GetRequest(key=Key(type=TYPE_TYPE, name=BACKUP)))).object
        pushed = Type.FromString(stored.spec.value)
        assert list(pushed.resource.short_names) == ["bk"]
        assert list((await api.put(stored)).outcomes) == [PutResponse.UNCHANGED]
        pushed.resource.short_names.append("other")
        stored.spec.CopyFrom(pack(pushed))
        with pytest.raises(InvalidArgumentError, match="resource differs from the option"):
            await api.put(stored)


async def test_a_version_whose_rules_stored_objects_break_is_refused(site: Site) -> None:
    strict = backup_type()
    pushed = Type.FromString(strict.spec.value)
    option = pushed.files.file[0].message_type[0].field[0].options
    option.MergeFromString(b"\xba\x48\x03\xc8\x01\x01")  # (buf.validate.field).required
    pushed.files.file[0].dependency.append("buf/validate/validate.proto")
    strict.spec.CopyFrom(pack(pushed))
    async with serve(site) as api:
        await api.put(backup_type())
        await api.put(backup("good", schedule="daily"))
        await api.put(strict)
        await api.put(backup_type())
        await api.put(backup("bad"))
        with pytest.raises(FailedPreconditionError, match=r"acme\.Backup/default/bad: its spec\.schedule"):
            await api.put(strict)


async def test_reflection_describes_a_pushed_type_to_foreign_clients(site: Site) -> None:
    async with serve(site) as api, site.host.network.channel(api.address) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()

        async def found(symbol: str) -> list[str]:
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
            answer = await call.read()
            files = answer.file_descriptor_response.file_descriptor_proto
            return [FileDescriptorProto.FromString(file).name for file in files]

        assert await found(BACKUP) == []
        await api.put(backup_type())
        assert "acme/backup.proto" in await found(BACKUP)
        assert "acme/backup.proto" in await found(f"{BACKUP}Status")
        assert "rube/api.proto" in await found("api.Object")
        call.cancel()
