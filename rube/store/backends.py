"""The kinds of stores, and what each can do for whoever opens, copies and checks one."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from rube.host import Host
from rube.store.config import StoreConfig
from rube.store.ports import Page, Record, Store
from rube.store.urls import StoreUrl, parse_store_url

__all__ = ["Backend", "Checked", "Damage", "Loader", "Reader", "StoreStat", "backend_of", "open_store"]


class Reader(Protocol):
    """A store that is only read, beside the server that may have it open."""

    @property
    def store_id(self) -> str: ...

    @property
    def revision(self) -> int:
        """Of the newest commit when it was opened, or later."""
        ...

    @property
    def keys(self) -> int:
        """How many exist at `revision`, about; 0: unknown. For progress bars."""
        ...

    async def newest_revision(self) -> int:
        """Of the store's newest commit now. Past `revision` if somebody wrote since."""
        ...

    async def range(self, start: bytes, end: bytes | None, *, revision: int = 0, limit: int = 0) -> Page:
        """As of `rube.store.Store`."""
        ...

    async def close(self) -> None: ...


class Loader(Protocol):
    """Fills a new store with a copy of another one's records.

    Until `finish` has returned the store refuses to be opened (FailedPreconditionError that says: restore again), and
    a new Loader for it begins anew: an interruption leaves nothing that could be taken for the whole.
    """

    async def load(self, records: Sequence[Record]) -> None:
        """Adds records in the order of their keys. Keeps their revisions where the store can."""
        ...

    async def finish(self, revision: int) -> str:
        """Ends the copy of a store at that revision; what comes after it is newer. Returns the new store id."""
        ...

    async def close(self) -> None:
        """Ends without `finish` too."""
        ...


class StoreStat(NamedTuple):
    """A store in figures."""

    store_id: str
    # As the store itself writes it: format and version of what is on disk, or of the server.
    format: str
    revision: int
    # The oldest revision that can be read and resumed from.
    oldest_revision: int
    # Keys that exist at the newest revision.
    keys: int
    # On disk, as the store's files or its server say; 0: unknown.
    size_bytes: int


class Damage(NamedTuple):
    """One thing that is wrong with stored bytes: where (a key, a revision, a file), and what."""

    where: str
    what: str


class Checked(NamedTuple):
    """How far a check has come: so many records of about so many in all (0: unknown), and what it found on the way."""

    records: int
    records_total: int
    damage: Damage | None = None


class Backend(Protocol):
    """One kind of store. Errors as in `open_store`."""

    async def open(self, host: Host, url: StoreUrl, config: StoreConfig) -> Store: ...

    async def open_reader(self, host: Host, url: StoreUrl) -> Reader:
        """Raises FailedPreconditionError if there is no store."""
        ...

    async def open_loader(self, host: Host, url: StoreUrl) -> Loader:
        """Raises FailedPreconditionError if there is a store already, and it is no interrupted copy."""
        ...

    async def stat(self, host: Host, url: StoreUrl) -> StoreStat:
        """Also of a store that a server has open."""
        ...

    def verify(self, host: Host, url: StoreUrl) -> AsyncIterator[Checked]:
        """Reads every record against its checksum; goes on after damage. Also of a store that a server has open.

        Where there is no store it says so, or raises FailedPreconditionError, as it does for one of a version that is
        not known.
        """
        ...


# Scheme: (module, attribute). Imported when used: each may need packages of its own.
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
    """What opens stores of that URL's scheme."""
    module, attribute = _BACKENDS[url.scheme]
    backend: Backend = getattr(importlib.import_module(module), attribute)
    return backend


async def open_store(host: Host, url: str, config: StoreConfig | None = None) -> Store:
    """The store at `url` (`rube.store.urls.FORMS`), created if it is not there.

    Raises InvalidArgumentError for a URL it does not know, FailedPreconditionError where a package is missing, another
    process has the store open or a newer version wrote it, UnavailableError where its server does not answer,
    DataLossError where it is damaged; each says the remedy.
    """
    parsed = parse_store_url(url)
    return await backend_of(parsed).open(host, parsed, config or StoreConfig())
