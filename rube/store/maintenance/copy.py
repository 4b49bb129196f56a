"""Copies of a store's state at one revision: into a backup, out of one, and from store to store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from rube.api.errors import CompactedError, FailedPreconditionError
from rube.host import Host
from rube.store.backends import Damage, Loader, Reader, backend_of
from rube.store.maintenance.files import BackupSource, BackupTarget
from rube.store.maintenance.format import BackupEnd, BackupHeader, Decoder, Encoder, loss
from rube.store.mvcc.evaluate import KEY_BYTES_MAX
from rube.store.ports import Record
from rube.store.urls import parse_store_url

# A key after every possible one.
_END = b"\xff" * (KEY_BYTES_MAX + 1)
PAGE_BYTES = 1024 * 1024
"""Bytes of a page: each page asks for as many records as would make so many bytes if they were like those of the page
before."""
PAGE_RECORDS_MAX = 1000
# Records of the first page; each later one is at most so many times the one before.
_FIRST_PAGE_RECORDS = 16
_PAGE_GROWTH_MAX = 4

Progress = Callable[[int, int], None]
"""Called with a copy's progress: done, and the total (0: unknown)."""


class Copied(NamedTuple):
    """The content of a copy: the store's id, the revision, and the number of records."""

    records: int
    store_id: str
    revision: int


async def back_up(host: Host, url: str, target: BackupTarget, progress: Progress) -> Copied:
    """Writes the store's state at its newest revision to `target`, also while servers use it. Progress in records.

    Raises the errors of `Backend.open_reader` and of the target; DataLossError if a record is damaged. An incomplete
    backup is discarded.
    """
    try:
        parsed = parse_store_url(url)
        reader = await backend_of(parsed).open_reader(host, parsed)
        try:
            encoder, header = Encoder(), BackupHeader(reader.store_id, reader.revision)
            target.write(encoder.start(header))
            records = 0
            async for page in _pages(reader, header.revision):
                target.write(encoder.records(page))
                records += len(page)
                progress(records, max(records, reader.keys))
            target.write(encoder.finish())
            target.finish()
        finally:
            await reader.close()
    finally:
        target.discard()
    return Copied(records, header.store_id, header.revision)


async def restore(host: Host, source: BackupSource, url: str, progress: Progress) -> tuple[Copied, str]:
    """Makes a store at `url`, where there must be none, from a backup. Progress in bytes. Returns its new id, too.

    Raises the errors of `Backend.open_loader`; FailedPreconditionError if the source is no backup of a known version,
    DataLossError if it is damaged or cut short: the store then refuses to open until a restore has succeeded.
    """
    items = _Items(source, progress)
    header = await items.header()  # before anything is changed
    parsed = parse_store_url(url)
    loader = await backend_of(parsed).open_loader(host, parsed)
    try:
        records = 0
        async for page in items.pages():
            await loader.load(page)
            records += len(page)
        return Copied(records, *header), await loader.finish(header.revision)
    finally:
        await loader.close()


async def migrate(
    host: Host, source_url: str, target_url: str, progress: Progress, *, online: bool = False
) -> tuple[Copied, str]:
    """Makes a store at `target_url`, where there must be none, of another store's state. Progress in records.

    Returns its new id, too. Raises FailedPreconditionError if the source was written to meanwhile, unless `online`, and
    the errors of `back_up` and `restore`. The target then refuses to open.
    """
    source, target = parse_store_url(source_url), parse_store_url(target_url)
    reader = await backend_of(source).open_reader(host, source)
    try:
        loader = await backend_of(target).open_loader(host, target)
        try:
            copied = await _copy(reader, loader, progress)
            newest = await reader.newest_revision()
            if newest != copied.revision and not online:
                raise FailedPreconditionError(
                    f"{source} went from revision {copied.revision} to {newest} while it was copied, and {target} "
                    "lacks that: stop the apiservers of the source and migrate again; --online takes the copy as it is"
                )
            return copied, await loader.finish(copied.revision)
        finally:
            await loader.close()
    finally:
        await reader.close()


async def _copy(reader: Reader, loader: Loader, progress: Progress) -> Copied:
    records, revision = 0, reader.revision
    async for page in _pages(reader, revision):
        await loader.load(page)
        records += len(page)
        progress(records, max(records, reader.keys))
    return Copied(records, reader.store_id, revision)


async def _pages(reader: Reader, revision: int) -> AsyncIterator[list[Record]]:
    """Yields all records as of that revision, in the order of their keys, about `PAGE_BYTES` at a time."""
    start, limit = b"\0", _FIRST_PAGE_RECORDS
    while True:
        try:
            page = await reader.range(start, _END, revision=revision, limit=limit)
        except CompactedError as error:
            raise CompactedError(
                f"compaction overtook the copy, which is of revision {revision}: try again when the store is less "
                "busy, or let its apiservers keep more (--history)",
                **error.metadata,
            ) from error
        if page.records:
            yield page.records
            start = page.records[-1].key + b"\0"
            limit = _next_limit(page.records)
        if not page.more:
            return


def _next_limit(records: list[Record]) -> int:
    page_bytes = sum(len(record.key) + len(record.value) for record in records)
    fitting = PAGE_BYTES * len(records) // max(1, page_bytes)
    return max(1, min(fitting, len(records) * _PAGE_GROWTH_MAX, PAGE_RECORDS_MAX))


class _Items:
    """A backup's header and pages. Any damage raises DataLossError."""

    def __init__(self, source: BackupSource, progress: Progress) -> None:
        self._name = source.name
        self._items = self._decode(source, progress)

    async def header(self) -> BackupHeader:
        """Returns the header. Call it first."""
        header = await anext(self._items)
        assert isinstance(header, BackupHeader)  # any other first item is damage
        return header

    async def pages(self) -> AsyncIterator[list[Record]]:
        """Yields all records. The last page comes only once the footer has confirmed that they are complete."""
        page: list[Record] = []
        page_bytes = 0
        async for item in self._items:
            if isinstance(item, Record):
                if page_bytes >= PAGE_BYTES or len(page) == PAGE_RECORDS_MAX:
                    yield page
                    page, page_bytes = [], 0
                page.append(item)
                page_bytes += len(item.key) + len(item.value)
        if page:
            yield page

    async def _decode(
        self, source: BackupSource, progress: Progress
    ) -> AsyncIterator[BackupHeader | Record | BackupEnd]:
        decoder, done_bytes = Decoder(source.name), 0
        async for piece in source.pieces():
            for item in decoder.feed(piece):
                yield self._sound(item)
            done_bytes += len(piece)
            progress(done_bytes, source.size_bytes)
        for item in decoder.end():
            yield self._sound(item)

    def _sound(self, item: BackupHeader | Record | Damage | BackupEnd) -> BackupHeader | Record | BackupEnd:
        if isinstance(item, Damage):
            raise loss(self._name, item)
        return item
