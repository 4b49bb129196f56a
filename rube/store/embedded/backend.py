"""The backend that opens, copies and checks stores on an engine for `rube.store.backends`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.group.records import check_format as is_member
from rube.group.records import check_whole
from rube.host import Engine, Host
from rube.store.backends import Checked, Damage, Loader, Reader, StoreStat
from rube.store.config import StoreConfig
from rube.store.embedded.store import MvccStore
from rube.store.mvcc.checking import check_engine
from rube.store.mvcc.loading import MvccLoader
from rube.store.mvcc.recovery import Header, StoreState, newest_revision, read_header, read_log
from rube.store.ports import Page, Store
from rube.store.urls import StoreUrl


class EngineBackend:
    """The `rube.store.backends.Backend` of every engine that `host.storage` opens."""

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store:
        engine = await host.storage.open(str(url))
        await _refuse_member(engine, url)
        with _named(url):
            return await MvccStore.open(engine, clock=host.clock, random=host.random, config=config)

    async def open_reader(self, host: Host, url: StoreUrl) -> Reader:
        engine, header = await _open_read_only(host, url)
        try:
            with _named(url):
                return EngineReader(host, url, engine, read_log(engine, header))
        except BaseException:
            await engine.close()
            raise

    async def open_loader(self, host: Host, url: StoreUrl) -> Loader:
        return await MvccLoader.open(await host.storage.open(str(url)), host.random, str(url))

    async def stat(self, host: Host, url: StoreUrl) -> StoreStat:
        engine, header = await _open_read_only(host, url)
        try:
            with _named(url):
                state = read_log(engine, header)
            return StoreStat(
                store_id=state.store_id,
                format=state.format.decode(),
                revision=state.revision,
                oldest_revision=state.compact_revision,
                keys=state.index.count_current(),
                size_bytes=engine.size_bytes(),
            )
        finally:
            await engine.close()

    async def verify(self, host: Host, url: StoreUrl) -> AsyncIterator[Checked]:
        try:
            engine = await host.storage.open(str(url), read_only=True)
        except DataLossError as error:
            yield Checked(0, 0, Damage(str(url), error.message))
            return
        try:
            with _named(url):
                check_whole(engine)
                async for checked in check_engine(engine, host.clock, str(url)):
                    yield checked
        finally:
            await engine.close()


class EngineReader:
    """A `rube.store.backends.Reader` of one state. It holds the key index, as the server does."""

    def __init__(self, host: Host, url: StoreUrl, engine: Engine, state: StoreState) -> None:
        self._host = host
        self._url = url
        self._store = MvccStore(engine, host.clock, state, StoreConfig())
        self._keys = state.index.count_current()

    @property
    def store_id(self) -> str:
        return self._store.store_id

    @property
    def revision(self) -> int:
        return self._store.revision

    @property
    def keys(self) -> int:
        return self._keys

    async def newest_revision(self) -> int:
        engine, header = await _open_read_only(self._host, self._url)
        try:
            return newest_revision(engine, header)
        finally:
            await engine.close()

    async def range(self, start: bytes, end: bytes | None, *, revision: int = 0, limit: int = 0) -> Page:
        return await self._store.range(start, end, revision=revision, limit=limit)

    async def close(self) -> None:
        await self._store.close()


async def _open_read_only(host: Host, url: StoreUrl) -> tuple[Engine, Header]:
    """Opens the engine. Raises FailedPreconditionError if there is no store, or only a part of one."""
    engine = await host.storage.open(str(url), read_only=True)
    try:
        with _named(url):
            check_whole(engine)
            header = read_header(engine)
        if header is None and is_member(engine):
            raise FailedPreconditionError(
                f"{url} is a member of a replicated store that holds nothing yet, as far as it knows: write to it "
                "first, or read another member's"
            )
        if header is None:
            raise FailedPreconditionError(f"there is no store at {url}: check the path")
    except BaseException:
        await engine.close()
        raise
    return engine, header


@contextmanager
def _named(url: StoreUrl) -> Iterator[None]:
    """Adds the store's URL to errors."""
    try:
        yield
    except (FailedPreconditionError, DataLossError) as error:
        raise type(error)(f"{url}: {error.message}", **error.metadata) from error


async def _refuse_member(engine: Engine, url: StoreUrl) -> None:
    """Refuses a disk of a group's member, which a single process must not write. Closes the engine."""
    if is_member(engine):
        await engine.close()
        raise FailedPreconditionError(
            f"{url} belongs to a member of a replicated store: open it as raft+{url}?name=…, with the name it has"
        )


ENGINE = EngineBackend()
