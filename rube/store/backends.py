"""The kinds of stores, and the operations of each: open, copy, check."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from rube.host import Host
from rube.store.config import StoreConfig
from rube.store.ports import Page, Record, Store
from rube.store.urls import StoreUrl, parse_store_url


class Reader(Protocol):
    """A store that is only read, even while a server has it open."""

    @property
    def store_id(self) -> str: ...

    @property
    def revision(self) -> int:
        """The revision of the newest commit when it was opened, or later."""
        ...

    @property
    def keys(self) -> int:
        """About how many keys exist at `revision`; 0: unknown. For progress bars."""
        ...

    async def newest_revision(self) -> int:
        """Returns the revision of the store's newest commit now; more than `revision` if there were writes since."""
        ...

    async def range(self, start: bytes, end: bytes | None, *, revision: int = 0, limit: int = 0) -> Page:
        """Returns a page as `rube.store.Store.range` does."""
        ...

    async def close(self) -> None: ...


class Loader(Protocol):
    """Fills a new store with a copy of another store's records.

    Until `finish` has returned the store refuses to be opened (FailedPreconditionError that says: restore again), and a
    new Loader for it starts over: an interrupted copy cannot be taken for a complete one.
    """

    async def load(self, records: Sequence[Record]) -> None:
        """Adds records in the order of their keys. Keeps their revisions if the store can."""
        ...

    async def finish(self, revision: int) -> str:
        """Ends the copy of a store at that revision; later writes are newer. Returns the new store id."""
        ...

    async def close(self) -> None:
        """Ends the copy, also without `finish`."""
        ...


class StoreStat(NamedTuple):
    """The figures of a store."""

    store_id: str
    format: str
    """The format and version of the data on disk, or of the server, as the store writes it."""
    revision: int
    oldest_revision: int
    """The oldest revision that can be read and resumed from."""
    keys: int
    """The number of keys that exist at the newest revision."""
    size_bytes: int
    """Bytes on disk, by the store's files or its server; 0: unknown."""


class Damage(NamedTuple):
    """One damage of stored bytes: where (a key, a revision, a file), and what."""

    where: str
    what: str


class Checked(NamedTuple):
    """The progress of a check: so many records of about so many in all (0: unknown), and its findings since the last
    one."""

    records: int
    records_total: int
    damage: Damage | None = None


class Backend(Protocol):
    """One kind of store. It raises the errors of `open_store`."""

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store: ...

    async def open_reader(self, host: Host, url: StoreUrl) -> Reader:
        """Raises FailedPreconditionError if there is no store."""
        ...

    async def open_loader(self, host: Host, url: StoreUrl) -> Loader:
        """Raises FailedPreconditionError if there is a store already that is not an interrupted copy."""
        ...

    async def stat(self, host: Host, url: StoreUrl) -> StoreStat:
        """Returns the store's figures, even while a server has it open."""
        ...

    def verify(self, host: Host, url: StoreUrl) -> AsyncIterator[Checked]:
        """Reads every record against its checksum, and goes on after damage; even while a server has the store open.

        Reports a missing store as damage, or raises FailedPreconditionError, as it does for an unknown version.
        """
        ...


# Scheme: (module, attribute). Imported when used, since each may need packages of its own.
_BACKENDS: Mapping[str, tuple[str, str]] = {
    "memory": ("rube.store.embedded.backend", "ENGINE"),
    "sqlite": ("rube.store.embedded.backend", "ENGINE"),
    "rocksdb": ("rube.store.embedded.backend", "ENGINE"),
    "raft+sqlite": ("rube.store.replicated.backend", "REPLICATED"),
    "raft+rocksdb": ("rube.store.replicated.backend", "REPLICATED"),
    "etcd": ("rube.store.etcd.backend", "ETCD"),
    "mysql": ("rube.store.sql.backend", "SQL"),
}


def backend_of(url: StoreUrl) -> Backend:
    """Returns the backend of that URL's scheme."""
    module, attribute = _BACKENDS[url.scheme]
    backend: Backend = getattr(importlib.import_module(module), attribute)
    return backend


async def open_store(host: Host, url: str, config: StoreConfig | None = None) -> Store:
    """Opens the store at `url` (`rube.store.urls.FORMS`), and creates it if it is missing.

    Raises InvalidArgumentError for an unknown URL, FailedPreconditionError if a package is missing, another process has
    the store open or a newer version wrote it, UnavailableError if its server does not answer, DataLossError if it is
    damaged; each names the remedy.
    """
    parsed = parse_store_url(url)
    return await backend_of(parsed).open(host, parsed, config or StoreConfig())
