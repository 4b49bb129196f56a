"""The objects that a filter selects, read from the store in pieces: those that the index names, or without it the
filter's whole range."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from rube.api import selectors
from rube.api.errors import RubeError
from rube.server.feed import ChangeFeed
from rube.server.filters import ObjectFilter
from rube.server.object_index import Attribute, RequiredValues, Values, required_values, value_of
from rube.server.scan import PIECE_OBJECTS_MIN, next_limit, scan
from rube.server.stored_object import labels_of
from rube.store import Page, Record, Store

WAIT_S_MAX: Final = 1.0
"""Past this a read does not wait for the index to reach its revision, or to be filled, and reads the range."""

_LOG = logging.getLogger("rube.server")

Pages = AsyncGenerator[Page, None]


class Selection:
    """Reads the objects of filters, with an index that the feed keeps up."""

    def __init__(self, store: Store, feed: ChangeFeed) -> None:
        self._store = store
        self._feed = feed
        # The tasks that fill attributes of the index.
        self._fills: dict[Values, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Ends what fills the index."""
        tasks = list(self._fills.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def pages(self, wanted: ObjectFilter, start: bytes, *, revision: int = 0, min_revision: int = 0) -> Pages:
        """Yields records from the key `start` on, in the order of their keys and all as of one revision, among which
        are all that the filter selects; at least one, perhaps empty, page. Revision 0: the newest one.

        Raises CompactedError, RevisionAheadError.
        """
        required = required_values(wanted)
        if required and await self._fill(required):
            at = (await self._store.range(start, None, revision=revision, min_revision=min_revision)).revision
            keys = await self._candidates(required, at)
            if keys is not None:
                found = sorted(key for key in keys if start <= key < wanted.end)
                async with aclosing(self._read_pages(found, at)) as pages:
                    async for page in pages:
                        yield page
                return
        scanned = scan(self._store, start, wanted.end, revision=revision, min_revision=min_revision)
        async with aclosing(scanned) as pages:
            async for page in pages:
                yield page

    async def _candidates(self, required: RequiredValues, revision: int) -> set[bytes] | None:
        """Returns keys among which are all that the filter selects at the revision; None if none are known."""
        if not await self._feed.reached(revision, WAIT_S_MAX):
            return None
        # Nothing runs in between: the index is as of the feed's revision.
        known = [
            keys
            for attribute, values in required.items()
            if (keys := self._feed.objects.candidates(attribute, values, revision)) is not None
        ]
        return min(known, key=len, default=None)

    async def _read_pages(self, keys: Sequence[bytes], revision: int) -> Pages:
        """Yields the records of the keys at the revision, in pieces of bounded size."""
        limit, first = PIECE_OBJECTS_MIN, 0
        while True:
            piece = keys[first : first + limit]
            first += limit
            page = Page(await self._read(piece, revision) if piece else [], revision, first < len(keys))
            yield page
            if not page.more:
                return
            limit = min(next_limit(page.records), self._store.limits.txn_ops_max)

    async def _read(self, keys: Sequence[bytes], revision: int) -> list[Record]:
        """Returns the records that the keys had at the revision.

        What was written last at or before it is now as it was then. Only the others have to be read from the past.
        """
        records: list[Record] = []
        found = await self._store.get(keys, min_revision=revision)
        for key, record in zip(keys, found.records, strict=True):
            if record is not None and record.mod_revision <= revision:
                records.append(record)
            else:
                records += (await self._store.range(key, None, revision=revision)).records
        return records

    # The index

    async def _fill(self, required: RequiredValues) -> bool:
        """Sees to it that the index has the attributes. Returns whether it may have any."""
        if not self._feed.runs():
            return False
        begun = [values for attribute in required if (values := self._begun(attribute)) is not None]
        filling = [task for values in begun if (task := self._fills.get(values)) is not None]
        if filling:
            await asyncio.wait(filling, timeout=WAIT_S_MAX)
        return bool(begun)

    def _begun(self, attribute: Attribute) -> Values | None:
        """Returns an attribute of the index, which a task may still fill; None if it cannot be there."""
        index, revision = self._feed.objects, self._feed.revision
        values = index.get(attribute)
        if values is None and revision and (values := index.begin(attribute, revision)) is not None:
            self._fills[values] = asyncio.create_task(self._fill_one(attribute, values, revision), name="object index")
        return values

    async def _fill_one(self, attribute: Attribute, values: Values, revision: int) -> None:
        """Adds all objects of a type as of a revision."""
        every = ObjectFilter(type=attribute.type, namespace="", name="", selector=selectors.EVERYTHING)
        try:
            async with aclosing(scan(self._store, every.start, every.end, revision=revision)) as pages:
                async for page in pages:
                    for record in page.records:
                        values.add(record.key, value_of(record, attribute.label, labels_of))
                    if not self._feed.objects.has_room(attribute, values):
                        return
            values.complete()
        except RubeError as error:
            _LOG.info("the index of %s is filled later: %s", attribute, error.message)
        finally:
            del self._fills[values]
            if values.begun:
                self._feed.objects.discard(attribute, values)
