"""Checks of a store in etcd: every key under its prefix, and the equality of the members."""

from __future__ import annotations

from collections.abc import AsyncIterator

from grpc import aio

from rube.api.errors import UnavailableError
from rube.store.backends import Checked, Damage
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.client import EtcdClient
from rube.store.etcd.endpoints import Endpoint
from rube.store.etcd.errors import DENIED, FUTURE_REVISION
from rube.store.etcd.kv_pb2 import KeyValue
from rube.store.etcd.reads import EtcdReads
from rube.store.etcd.values import decode_value
from rube.store.mvcc.evaluate import KEY_BYTES_MAX

HASH_TIMEOUT_S = 60.0
HASH_ATTEMPTS_MAX = 10
"""Attempts for a member that has not applied the revision yet."""
HASH_PAUSE_S = 0.2


async def check_store(reads: EtcdReads) -> AsyncIterator[Checked]:
    """Reads everything under the prefix, values against their checksums; then compares the members."""
    layout = reads.layout
    total, revision = await reads.count()
    seen = 0
    async for kvs in reads.keys(revision):
        for kv in kvs:
            key = layout.record_key(kv.key)
            if key is not None:
                seen += 1
            what = _what_is_wrong(key, kv) if key is not None else _what_does_not_belong(reads, kv.key)
            if what:
                yield Checked(seen, total, Damage(kv.key.decode("utf-8", "backslashreplace"), what))
        yield Checked(seen, total)
    async for damage in compare_members(reads.client, revision):
        yield Checked(seen, total, damage)


def _what_is_wrong(key: bytes, kv: KeyValue) -> str:
    if not key:
        return "the key is empty"
    if len(key) > KEY_BYTES_MAX:
        return f"the key is longer than {KEY_BYTES_MAX} bytes"
    if decode_value(key, kv.value) is None:
        return f"the value of revision {kv.mod_revision} does not match its checksum"
    return ""


def _what_does_not_belong(reads: EtcdReads, key: bytes) -> str:
    layout = reads.layout
    if key in (layout.descriptor_key, layout.tick_key) or layout.may_be_of_another_store(key):
        return ""
    return "this key is not Rube's: remove it"


async def compare_members(client: EtcdClient, revision: int) -> AsyncIterator[Damage]:
    """Compares every member's hash of etcd's whole content as of one revision. With access control only root may."""
    hashes: dict[int, dict[int, list[str]]] = {}
    for member in client.members:
        try:
            answer = await _hash(client, member, revision)
        except aio.AioRpcError as error:
            if (error.details() or "").endswith(DENIED):
                return
            yield Damage(member.target, f"cannot be compared with the other members: {error.details()}")
        except UnavailableError as error:
            yield Damage(member.target, f"cannot be compared with the other members: {error.message}")
        else:
            # Members that have compacted at different revisions keep different content.
            hashes.setdefault(answer.compact_revision, {}).setdefault(answer.hash, []).append(member.target)
    for groups in hashes.values():
        if len(groups) > 1:
            differ = " and ".join(", ".join(group) for group in groups.values())
            yield Damage(differ, f"these members differ at revision {revision}: restore the cluster from a backup")


async def _hash(client: EtcdClient, member: Endpoint, revision: int) -> rpc.HashKVResponse:
    request = rpc.HashKVRequest(revision=revision)
    for attempt in range(HASH_ATTEMPTS_MAX):
        try:
            return await client.ask(member, lambda member: member.maintenance.HashKV, request, HASH_TIMEOUT_S)
        except aio.AioRpcError as error:
            if error.details() != FUTURE_REVISION or attempt == HASH_ATTEMPTS_MAX - 1:
                raise
            await client.clock.sleep(HASH_PAUSE_S)
    raise AssertionError("the last attempt returns or raises")
