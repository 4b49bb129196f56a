"""The verb history, and reads of single objects at a revision that has passed.

Both are made of what every store can do: read a key at a revision, and follow the changes of a key from a revision on.
The way back goes from each version to the revision before it, one read a version; only the deletions of an object,
before which there is nothing to start from, are found by following the changes since the oldest revision once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from rube.api import HistoryRequest, HistoryResponse, Version
from rube.api.errors import CompactedError, NotFoundError, RevisionAheadError, UnavailableError
from rube.api.keys import ObjectKey
from rube.api.page_token import PageToken, decode_token, encode_token
from rube.server.backend import Backend
from rube.server.objects import AROUND_BYTES_MAX, decode
from rube.server.validation import check_page_size
from rube.store import Page, Record, Store

VERSIONS_DEFAULT: Final = 100
VERSIONS_MAX: Final = 1_000
"""Versions of one page."""
# The changes are followed anew so often if compaction overtakes them.
_FOLLOWS_MAX = 3


async def history(backend: Backend, request: HistoryRequest) -> HistoryResponse:
    """Returns one page of an object's versions, newest first.

    A page ends early at a bound of bytes. Raises NotFoundError if there is none since the oldest revision.
    """
    store = backend.store
    key = ObjectKey.from_proto(request.key)
    types = await backend.types.require((key.type,))
    types.validate_object_key(key)
    check_page_size(request.page_size)
    scope = f"history of {key} {store.store_id}"
    start = decode_token(request.page_token, scope).revision if request.page_token else 0
    versions_max = min(request.page_size or VERSIONS_DEFAULT, VERSIONS_MAX)
    response = HistoryResponse(store_id=store.store_id, oldest_revision=await oldest_revision(store))
    bytes_left = backend.config.page_bytes_max
    async with aclosing(versions_of(store, key.to_bytes(), start, deletions_max=versions_max + 1)) as versions:
        async for version in versions:
            if backend.sight is not None and not backend.sight.sees_object(version.object):
                continue
            bytes_left -= version.ByteSize() + AROUND_BYTES_MAX
            if response.versions and (bytes_left < 0 or len(response.versions) == versions_max):
                response.next_page_token = encode_token(PageToken(version.revision, b""), scope)
                break
            response.versions.append(version)
    response.revision = store.revision
    if not response.versions and backend.sight is not None:
        raise backend.sight.denied(key)
    if not response.versions and not start:
        raise NotFoundError(
            f"{key} does not exist, and did not since revision {response.oldest_revision}, the oldest that can be read",
            key=str(key),
            oldest_revision=response.oldest_revision,
        )
    return response


async def read_at(store: Store, key: bytes, revision: int) -> Page:
    """Returns the record of a key as it was at a revision (0: newest).

    Compaction keeps what stood at the oldest revision: where that was written at `revision` or before, it stood then,
    too. Raises CompactedError, RevisionAheadError.
    """
    try:
        return await store.range(key, None, revision=revision)
    except CompactedError as error:
        oldest = int(error.metadata["oldest_revision"])
        page = await store.range(key, None, revision=oldest)
        if page.records and page.records[0].mod_revision <= revision:
            return page._replace(revision=revision)
        raise forgotten(revision, oldest) from error


async def last_of(store: Store, key: bytes) -> Record | None:
    """Returns the last record of a key that has gone, or one of the last, without following the log: it reads twice as
    far back each time. None: it has been gone for longer than it was there, or was never there."""
    newest, back = store.revision, 1
    while back < newest:
        try:
            page = await read_at(store, key, newest - back)
        except CompactedError:
            return None
        if page.records:
            return page.records[0]
        back *= 2
    return None


def forgotten(revision: int, oldest: int) -> CompactedError:
    """Returns the error for a read at a revision that the store does not have any more."""
    return CompactedError(
        f"the store has forgotten revision {revision}: the oldest that can be read is {oldest} "
        "('rube apiserver --history' says how many it keeps)",
        oldest_revision=oldest,
    )


async def oldest_revision(store: Store) -> int:
    """Returns the oldest revision that can be read; 0 in an empty store."""
    try:
        await store.range(b"!", None, revision=1)
    except CompactedError as error:
        return int(error.metadata["oldest_revision"])
    except RevisionAheadError:
        return 0
    return 1


async def versions_of(store: Store, key: bytes, start: int = 0, *, deletions_max: int) -> AsyncGenerator[Version, None]:
    """Yields the versions of a key, newest first, from the one that stood at revision `start` (0: newest) on, as far
    back as the store goes, and past at most `deletions_max` deletions."""
    deletions: list[int] | None = None
    revision = start
    while True:
        try:
            page = await read_at(store, key, revision)
            if page.records:
                (record,) = page.records
                yield _version(record)
                revision = record.mod_revision - 1
            else:
                if deletions is None:
                    deletions = await _deletions(store, key, page.revision, deletions_max)
                if not deletions:
                    return
                deleted = deletions.pop()
                revision = deleted - 1
                (record,) = (await read_at(store, key, revision)).records
                yield _deletion(record, deleted)
        except CompactedError:
            return
        if not revision:
            return


def _version(record: Record) -> Version:
    created = record.mod_revision == record.create_revision
    operation = Version.CREATED if created else Version.CHANGED
    return Version(revision=record.mod_revision, operation=operation, object=decode(record))


def _deletion(before: Record, revision: int) -> Version:
    obj = decode(before)
    obj.metadata.revision = revision
    return Version(revision=revision, operation=Version.DELETED, object=obj)


async def _deletions(store: Store, key: bytes, until: int, deletions_max: int) -> list[int]:
    """Returns the newest revisions up to `until` at which the key was deleted, in order."""
    after = 0
    for _ in range(_FOLLOWS_MAX):
        found: deque[int] = deque(maxlen=deletions_max)
        try:
            changes = store.watch(key, key + b"\0", after_revision=after)
            async with aclosing(changes) as batches:  # type: ignore[type-var]  # stores give async generators
                async for batch in batches:
                    revisions = (change.record.mod_revision for change in batch.changes if change.deleted)
                    found.extend(revision for revision in revisions if revision <= until)
                    if batch.revision >= until:
                        return list(found)
        except CompactedError as error:
            after = int(error.metadata["oldest_revision"])
    raise UnavailableError(f"compaction overtook the history of {key.decode()} {_FOLLOWS_MAX} times: ask again")
