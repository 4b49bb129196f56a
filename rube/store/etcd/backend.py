"""Stores in etcd, as `rube.store.backends` opens and keeps them."""

from __future__ import annotations

from pathlib import Path

from grpc import aio

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.host import Host
from rube.store.config import StoreConfig
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.client import EtcdClient
from rube.store.etcd.layout import Layout
from rube.store.etcd.mark import READY, StoreMark, check_ready, encode_mark
from rube.store.etcd.reads import EtcdReads
from rube.store.etcd.store import EtcdStore
from rube.store.ports import Store
from rube.store.urls import StoreUrl


class EtcdBackend:
    """`rube.store.backends.Backend` of etcd clusters."""

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store:
        reads = await _connect(host, url)
        try:
            mark = await reads.mark() or await _create(reads, host.random.uid())
            check_ready(mark, str(url))
            return EtcdStore(reads, mark, config)
        except BaseException:
            await reads.client.close()
            raise


async def _connect(host: Host, url: StoreUrl) -> EtcdReads:
    layout = Layout(url.path)
    client = EtcdClient(host, url, _password(url))
    try:
        await client.connect()
    except aio.AioRpcError as error:
        await client.close()
        raise client.meaning_of(error) from error
    except BaseException:
        await client.close()
        raise
    return EtcdReads(client, layout)


async def _create(reads: EtcdReads, store_id: str) -> StoreMark:
    """Makes a new store, unless another server does so at the same time: then it is that one's."""
    layout = reads.layout
    records, _ = await reads.count()
    if records:
        raise FailedPreconditionError(
            f"etcd has {records} keys of another kind under {layout.records.decode()} of store {reads.client.url}: "
            "choose another prefix"
        )
    absent = rpc.Compare(key=layout.store_mark, target=rpc.Compare.CREATE, create_revision=0)
    put = rpc.PutRequest(key=layout.store_mark, value=encode_mark(store_id, READY))
    request = rpc.TxnRequest(compare=[absent], success=[rpc.RequestOp(request_put=put)])
    try:
        # Carried out twice it writes once.
        await reads.client.call(
            lambda member, metadata, timeout_s: member.kv.Txn(request, metadata=metadata, timeout=timeout_s)
        )
    except aio.AioRpcError as error:
        raise reads.client.meaning_of(error) from error
    mark = await reads.mark()
    if mark is None:
        raise FailedPreconditionError(f"store {reads.client.url} is removed by somebody: try again when that is over")
    return mark


def _password(url: StoreUrl) -> str:
    path = url.option("password_file")
    if not path:
        return url.password
    try:
        return Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"password_file={path} of store {url} cannot be read: {error}") from error


ETCD = EtcdBackend()
