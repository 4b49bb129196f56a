"""The backend that opens, copies and checks stores in etcd for `rube.store.backends`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from grpc import aio

from rube.api.errors import DataLossError, FailedPreconditionError, InvalidArgumentError, RubeError
from rube.host import Host
from rube.store.backends import Checked, Damage, Loader, Reader, StoreStat
from rube.store.config import StoreConfig
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.checking import check_store
from rube.store.etcd.client import EtcdClient
from rube.store.etcd.descriptor import FORMAT, READY, StoreDescriptor, check_ready, encode_descriptor
from rube.store.etcd.layout import Layout
from rube.store.etcd.loading import EtcdLoader
from rube.store.etcd.log import LogReader
from rube.store.etcd.reads import EtcdReads
from rube.store.etcd.requests import mod_revision_is, put_descriptor, put_tick
from rube.store.etcd.store import EtcdStore
from rube.store.ports import Page, Store
from rube.store.urls import StoreUrl


class EtcdBackend:
    """`rube.store.backends.Backend` of etcd clusters."""

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store:
        reads = await _connect(host, url)
        try:
            descriptor = await reads.descriptor() or await _create(reads, host.random.uid())
            check_ready(descriptor, str(url))
            return EtcdStore(reads, descriptor, config)
        except BaseException:
            await reads.client.close()
            raise

    async def open_reader(self, host: Host, url: StoreUrl) -> Reader:
        reads = await _connect(host, url)
        try:
            descriptor = await _existing(reads)
            keys, revision = await reads.count()
            return EtcdReader(reads, descriptor, revision, keys)
        except BaseException:
            await reads.client.close()
            raise

    async def open_loader(self, host: Host, url: StoreUrl) -> Loader:
        reads = await _connect(host, url)
        try:
            return await EtcdLoader.open(reads, host.random.uid())
        except BaseException:
            await reads.client.close()
            raise

    async def stat(self, host: Host, url: StoreUrl) -> StoreStat:
        """Returns the store's figures. The size is that of etcd's whole database, on one member."""
        reads = await _connect(host, url)
        try:
            descriptor = await _existing(reads)
            status = await reads.client.status()
            keys, revision = await reads.count()
            return StoreStat(
                store_id=descriptor.store_id,
                format=f"{FORMAT} (etcd {status.version})",
                revision=revision,
                oldest_revision=await reads.oldest_revision(),
                keys=keys,
                size_bytes=status.dbSize,
            )
        finally:
            await reads.client.close()

    async def verify(self, host: Host, url: StoreUrl) -> AsyncIterator[Checked]:
        """Checks every key, and compares the members with each other."""
        reads = await _connect(host, url)
        try:
            try:
                await _existing(reads)
            except DataLossError as error:
                yield Checked(0, 0, Damage(reads.layout.descriptor_key.decode(), error.message))
            async for checked in check_store(reads):
                yield checked
        finally:
            await reads.client.close()


class EtcdReader:
    """`rube.store.backends.Reader` of one revision."""

    def __init__(self, reads: EtcdReads, descriptor: StoreDescriptor, revision: int, keys: int) -> None:
        self._reads = reads
        self._descriptor = descriptor
        self._revision = revision
        self._keys = keys

    @property
    def store_id(self) -> str:
        return self._descriptor.store_id

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def keys(self) -> int:
        return self._keys

    async def newest_revision(self) -> int:
        """Returns the newest revision that changed the store.

        Other users of the same etcd move its revision too, so the log decides whether something was written. A write of
        this store's own, which changes no record, marks the log's end. If that fails, etcd's own revision is returned.
        """
        newest = await self._reads.newest_revision()
        if newest == self._revision:
            return newest
        try:
            return await self._newest_in_log()
        except RubeError:
            return await self._reads.newest_revision()

    async def range(self, start: bytes, end: bytes | None, *, revision: int = 0, limit: int = 0) -> Page:
        return await self._reads.range(start, end, revision, 0, limit)

    async def close(self) -> None:
        await self._reads.client.close()

    async def _newest_in_log(self) -> int:
        reads, newest = self._reads, self._revision
        fence = mod_revision_is(reads.layout.descriptor_key, self._descriptor.mod_revision)
        tick = rpc.TxnRequest(compare=[fence], success=[put_tick(reads.layout)])
        last = (await reads.client.txn(tick, repeatable=True)).header.revision
        log = await LogReader.open(reads.client, reads.layout, self._revision)
        try:
            while True:
                for entry in await log.read():
                    if entry.changes or entry.damaged or entry.descriptor_changed:
                        newest = entry.revision
                    if entry.revision >= last:
                        return newest
        finally:
            log.close()


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


async def _existing(reads: EtcdReads) -> StoreDescriptor:
    descriptor = await reads.descriptor()
    if descriptor is None:
        raise FailedPreconditionError(f"there is no store at {reads.client.url}: check the prefix")
    check_ready(descriptor, str(reads.client.url))
    return descriptor


async def _create(reads: EtcdReads, store_id: str) -> StoreDescriptor:
    """Makes a new store; if another server does so at the same time, its store is used."""
    await reads.check_no_records()
    layout = reads.layout
    await reads.client.txn(
        rpc.TxnRequest(
            compare=[mod_revision_is(layout.descriptor_key, 0)],
            success=[put_descriptor(layout, encode_descriptor(store_id, READY))],
        ),
        repeatable=True,
    )
    return await _existing(reads)


def _password(url: StoreUrl) -> str:
    path = url.option("password_file")
    if not path:
        return url.password
    try:
        return Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"password_file={path} of store {url} cannot be read: {error}") from error


ETCD = EtcdBackend()
