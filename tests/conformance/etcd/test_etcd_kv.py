"""etcd's keys and values: what is answered, with what revisions, and what is refused, to the letter."""

from __future__ import annotations

from grpc import StatusCode, aio

from rube.store.etcd import rpc_pb2 as etcd
from rube.store.etcd.kv_pb2 import KeyValue
from tests.conformance.etcd.etcd_client import EtcdClient, delete_op, put_op, range_op, refused, txn_op

ALL = (b"\0", b"\0")
INVALID, OUT_OF_RANGE = StatusCode.INVALID_ARGUMENT, StatusCode.OUT_OF_RANGE


async def test_revisions_begin_at_1_and_versions_with_each_creation(client: EtcdClient) -> None:
    empty = await client.range(*ALL)
    assert (empty.header.revision, empty.count, empty.more) == (1, 0, False)
    assert empty.header.cluster_id
    assert empty.header.member_id
    assert (await client.put(b"a", b"1")).header.revision == 2
    second = await client.put(b"a", b"2", prev_kv=True)
    assert second.prev_kv == KeyValue(key=b"a", value=b"1", create_revision=2, mod_revision=2, version=1)
    gone = await client.delete(b"a", prev_kv=True)
    assert (gone.header.revision, gone.deleted) == (4, 1)
    assert list(gone.prev_kvs) == [KeyValue(key=b"a", value=b"2", create_revision=2, mod_revision=3, version=2)]
    nothing = await client.delete(b"a", prev_kv=True)
    assert (nothing.header.revision, nothing.deleted, list(nothing.prev_kvs)) == (4, 0, [])
    await client.put(b"a", b"3")
    assert list((await client.range(b"a")).kvs) == [
        KeyValue(key=b"a", value=b"3", create_revision=5, mod_revision=5, version=1)
    ]


async def test_ranges_are_cut_filtered_sorted_and_read_as_of_a_revision(client: EtcdClient) -> None:
    for key in (b"a", b"b", b"c", b"d"):
        await client.put(key, b"v" + key)  # 2 to 5
    await client.put(b"a", b"z")
    await client.delete(b"c")
    cut = await client.range(b"a", b"d", limit=1)
    assert ([kv.key for kv in cut.kvs], cut.more, cut.count) == ([b"a"], True, 2)
    before = await client.range(b"a", b"\0", revision=5, limit=4)
    assert ([kv.value for kv in before.kvs], before.more) == ([b"va", b"vb", b"vc", b"vd"], False)
    assert before.header.revision == 7
    counted = await client.range(b"a", b"\0", count_only=True, limit=1)
    assert (list(counted.kvs), counted.more, counted.count) == ([], False, 3)
    named = await client.range(b"a", b"\0", keys_only=True, sort_order="DESCEND", limit=2)
    assert ([(kv.key, kv.value) for kv in named.kvs], named.more) == ([(b"d", b""), (b"b", b"")], True)
    by_mod = await client.range(b"a", b"\0", sort_target="MOD")
    assert [kv.key for kv in by_mod.kvs] == [b"b", b"d", b"a"]
    newer = await client.range(b"a", b"\0", min_mod_revision=4, limit=5)
    assert ([kv.key for kv in newer.kvs], newer.count) == ([b"a", b"d"], 3)
    backwards = await client.range(b"z", b"a")
    assert (backwards.count, list(backwards.kvs)) == (0, [])
    assert (await client.range(b"a", revision=-1)).kvs[0].value == b"z"
    assert (await client.range(b"a", serializable=True)).kvs[0].value == b"z"


async def test_a_put_can_keep_the_value(client: EtcdClient) -> None:
    await client.put(b"a", b"1")
    await client.put(b"a", ignore_value=True)
    assert list((await client.range(b"a")).kvs) == [
        KeyValue(key=b"a", value=b"1", create_revision=2, mod_revision=3, version=2)
    ]
    assert await refused(client.put(b"b", ignore_value=True)) == (INVALID, "etcdserver: key not found")


async def test_a_transaction_is_one_revision_and_its_later_operations_see_the_earlier(client: EtcdClient) -> None:
    await client.put(b"gone", b"0")
    response = await client.txn(
        put_op(b"b", b"1"),
        range_op(b"b"),
        put_op(b"c", b"2", prev_kv=True),
        delete_op(b"gone", prev_kv=True),
        range_op(b"a", b"z"),
    )
    assert (response.header.revision, response.succeeded) == (3, True)
    put_b, got_b, put_c, deleted, listed = response.responses
    assert put_b.response_put.header.revision == put_c.response_put.header.revision == 3
    assert not put_b.response_put.header.cluster_id
    assert got_b.response_range.kvs[0].value == b"1"
    assert not put_c.response_put.HasField("prev_kv")
    assert (deleted.response_delete_range.deleted, deleted.response_delete_range.header.revision) == (1, 3)
    assert [kv.key for kv in listed.response_range.kvs] == [b"b", b"c"]
    assert {kv.mod_revision for kv in (await client.range(*ALL)).kvs} == {3}


async def test_the_other_branch_is_carried_out_if_a_compare_fails(client: EtcdClient) -> None:
    await client.put(b"a", b"1")

    async def holds(**fields: object) -> bool:
        compare = etcd.Compare(key=fields.pop("key", b"a"), **fields)  # type: ignore[arg-type]  # a test's fields
        return (await client.txn(compare=[compare], failure=[range_op(b"a")])).succeeded

    assert await holds(target="MOD", mod_revision=2)
    assert not await holds(target="MOD", mod_revision=3)
    assert await holds(target="CREATE", result="LESS", create_revision=3)
    assert await holds(target="VERSION", result="GREATER", version=0)
    assert await holds(target="VALUE", result="NOT_EQUAL", value=b"2")
    assert await holds(target="LEASE", lease=0)
    assert await holds(key=b"none", target="VERSION", version=0)
    assert not await holds(key=b"none", target="VALUE", value=b"")
    assert not await holds(key=b"none", target="VALUE", result="NOT_EQUAL", value=b"x")
    assert await holds(key=b"a", range_end=b"z", target="MOD", result="LESS", mod_revision=9)
    failed = await client.txn(
        put_op(b"yes"),
        compare=[etcd.Compare(key=b"a", target=etcd.Compare.MOD)],
        failure=[put_op(b"no"), range_op(b"a")],
    )
    assert (failed.succeeded, failed.header.revision, len(failed.responses)) == (False, 3, 2)
    assert [kv.key for kv in (await client.range(*ALL)).kvs] == [b"a", b"no"]
    assert (await client.txn()).header.revision == 3


async def test_a_transaction_within_compares_what_was_before_all(client: EtcdClient) -> None:
    absent = etcd.Compare(key=b"a", target=etcd.Compare.VERSION, version=0)
    response = await client.txn(put_op(b"a"), txn_op(put_op(b"yes"), compare=[absent], failure=[put_op(b"no")]))
    assert response.responses[1].response_txn.succeeded
    assert [kv.key for kv in (await client.range(*ALL)).kvs] == [b"a", b"yes"]


async def test_what_is_refused_changes_nothing(client: EtcdClient) -> None:
    await client.put(b"a", b"1")
    duplicate = (INVALID, "etcdserver: duplicate key given in txn request")
    too_many = (INVALID, "etcdserver: too many operations in txn request")
    future = (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
    many = [put_op(b"k%d" % number) for number in range(129)]
    for call, status in (
        (client.put(b""), (INVALID, "etcdserver: key is not provided")),
        (client.range(b""), (INVALID, "etcdserver: key is not provided")),
        (client.txn(put_op(b"")), (INVALID, "etcdserver: key is not provided")),
        (client.txn(etcd.RequestOp()), (INVALID, "etcdserver: key not found")),
        (client.put(b"a", b"1", ignore_value=True), (INVALID, "etcdserver: value is provided")),
        (client.put(b"a", lease=5, ignore_lease=True), (INVALID, "etcdserver: lease is provided")),
        (client.put(b"a", lease=5), (StatusCode.NOT_FOUND, "etcdserver: requested lease not found")),
        (client.txn(put_op(b"b"), put_op(b"b")), duplicate),
        (client.txn(put_op(b"b"), delete_op(b"a", b"c")), duplicate),
        (client.txn(put_op(b"b"), txn_op(put_op(b"b"))), duplicate),
        (client.txn(*many), too_many),
        (client.txn(failure=many), too_many),
        (client.txn(compare=[etcd.Compare(key=b"a")] * 129), too_many),
        (client.range(b"a", revision=3), future),
        (client.txn(put_op(b"b"), range_op(b"a", revision=9)), future),
    ):
        assert await refused(call) == status
    assert (await client.range(*ALL)).header.revision == 2
    assert (await client.txn(*many[:128])).header.revision == 3


async def test_a_request_has_at_most_1_5_mib(client: EtcdClient) -> None:
    mib = 1024 * 1024
    assert await refused(client.put(b"a", b"x" * (3 * mib // 2 + 1))) == (
        INVALID,
        "etcdserver: request is too large",
    )
    code, text = await refused(client.put(b"a", b"x" * (2 * mib)))
    assert (code, text) == (
        StatusCode.RESOURCE_EXHAUSTED,
        "grpc: received message larger than max (2097160 vs. 2097152)",
    )
    await client.put(b"a", b"x" * (3 * mib // 2 - 500))


async def test_what_is_compacted_is_refused_and_the_rest_is_as_it_was(client: EtcdClient) -> None:
    gone = (OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
    for value in (b"1", b"2", b"3"):
        await client.put(b"a", value)  # 2, 3, 4
    await client.put(b"b", b"1")
    await client.delete(b"b")
    assert (await client.compact(3)).header.revision == 6
    assert await refused(client.range(b"a", revision=2)) == gone
    assert await refused(client.txn(put_op(b"c"), range_op(b"a", revision=2))) == gone
    assert await refused(client.compact(3)) == gone
    assert await refused(client.compact(-1)) == gone
    future = (OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
    assert await refused(client.compact(7)) == future
    assert [(kv.value, kv.version) for kv in (await client.range(b"a", revision=3)).kvs] == [(b"2", 2)]
    await client.compact(6)
    kvs = (await client.range(*ALL, revision=6)).kvs
    assert [(kv.key, kv.value, kv.create_revision, kv.version) for kv in kvs] == [(b"a", b"3", 2, 3)]
    hashed = await client.maintenance.HashKV(etcd.HashKVRequest())
    assert (hashed.compact_revision, hashed.header.revision) == (6, 6)
    assert await refused(client.maintenance.HashKV(etcd.HashKVRequest(revision=2))) == gone


async def test_a_member_tells_of_itself(client: EtcdClient) -> None:
    status = await client.maintenance.Status(etcd.StatusRequest())
    assert status.version == "3.4.23"
    assert status.leader == status.header.member_id
    assert status.dbSize >= status.dbSizeInUse > -1
    before = (await client.maintenance.HashKV(etcd.HashKVRequest())).hash
    await client.put(b"a", b"1")
    assert (await client.maintenance.HashKV(etcd.HashKVRequest(revision=1))).hash == before
    assert (await client.maintenance.HashKV(etcd.HashKVRequest())).hash != before
    assert await refused(client.auth.Authenticate(etcd.AuthenticateRequest(name="u", password="p"))) == (
        StatusCode.FAILED_PRECONDITION,
        "etcdserver: authentication is not enabled",
    )
    token = (("token", "none"),)
    assert await refused(client.kv.Range(etcd.RangeRequest(key=b"a"), metadata=token)) == (
        StatusCode.UNAUTHENTICATED,
        "etcdserver: invalid auth token",
    )


async def test_past_its_quota_it_takes_deletes_only_until_it_is_given_room(client: EtcdClient) -> None:
    full = (StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    for number in range(100):  # etcd takes a while to notice: it learns its size with each batch that it writes
        code, text = await _put_large(client, b"k%d" % number)
        if code is not StatusCode.OK:
            break
    assert (code, text) == full
    assert await refused(client.put(b"small", b"x")) == full
    assert await refused(client.txn(put_op(b"small", b"x"))) == full
    status = await client.maintenance.Status(etcd.StatusRequest())
    number = status.header.member_id
    assert list(status.errors) == [f"memberID:{number} alarm:NOSPACE "]
    assert (await client.range(b"k0")).count == 1
    deleted = await client.delete(b"k", b"l")
    assert deleted.deleted > 5
    await client.compact(deleted.header.revision)
    await client.maintenance.Defragment(etcd.DefragmentRequest(), timeout=20)
    assert await refused(client.put(b"small", b"x")) == full  # the alarm stands until it is taken back
    alarms = (await client.maintenance.Alarm(etcd.AlarmRequest())).alarms
    assert [(alarm.memberID, alarm.alarm) for alarm in alarms] == [(number, etcd.NOSPACE)]
    await client.maintenance.Alarm(
        etcd.AlarmRequest(action=etcd.AlarmRequest.DEACTIVATE, alarm=etcd.NOSPACE, memberID=number)
    )
    assert not (await client.maintenance.Alarm(etcd.AlarmRequest())).alarms
    await client.put(b"small", b"x")
    after = await client.maintenance.Status(etcd.StatusRequest())
    assert after.dbSize < status.dbSize


async def _put_large(client: EtcdClient, key: bytes) -> tuple[StatusCode, str | None]:
    try:
        await client.put(key, b"x" * 1_500_000)
    except aio.AioRpcError as error:
        return error.code(), error.details()
    return StatusCode.OK, None
