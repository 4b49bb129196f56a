"""The namespaces that have an object, as far as this server has seen: new objects are put into them only while they are
not under deletion.

Most namespaces have no object, and a put into one of them costs nothing more. One that has is compared in the put's own
transaction. A server may hear of a new Namespace a moment late, and put into it as it would have before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import aclosing

from rube.api.errors import FailedPreconditionError, RubeError
from rube.api.keys import ObjectKey, prefix_bytes, prefix_end
from rube.api.well_known import LEADER_NAMESPACE, NAMESPACE_TYPE, NODE_LEASE_NAMESPACE
from rube.host import Clock
from rube.server.stored_object import StoredObject, decode_object
from rube.server.timed_iterator import TimedIterator
from rube.store import Compare, Store

_LOG = logging.getLogger("rube.server")
_START = prefix_bytes(NAMESPACE_TYPE)
_END = prefix_end(_START)
RETRY_S = 1.0
RESERVED = frozenset(
    ObjectKey(NAMESPACE_TYPE, "", name).to_bytes() for name in (NODE_LEASE_NAMESPACE, LEADER_NAMESPACE)
)
"""The keys of the namespaces of the cluster's own leases, which cannot be deleted as a whole."""


class Namespaces:
    """The keys of the Namespace objects in a store, kept up by a watch while `run` runs."""

    def __init__(self, clock: Clock, store: Store) -> None:
        self._clock = clock
        self._store = store
        # None: not known; then each is looked up.
        self._known: set[bytes] | None = None

    async def run(self) -> None:
        """Follows the store until cancelled."""
        while True:
            try:
                await self._follow()
            except RubeError as error:
                _LOG.info("the watch of namespaces begins again in %g s: %s", RETRY_S, error.message)
            self._known = None
            await self._clock.sleep(RETRY_S)

    async def _follow(self) -> None:
        page = await self._store.range(_START, _END)
        known = {record.key for record in page.records}
        self._known = known
        changes = self._store.watch(_START, _END, after_revision=page.revision)
        async with aclosing(TimedIterator(changes)) as batches:
            while (batch := await batches.next(None)) is not None:
                for change in batch.changes:
                    if change.deleted:
                        known.discard(change.record.key)
                    else:
                        known.add(change.record.key)

    async def guard(self, created: Iterable[bytes], *, serializable: bool) -> Sequence[Compare]:
        """Returns what a transaction that creates objects under these keys compares.

        Raises FailedPreconditionError if the namespace of one is under deletion.
        """
        if self._known is not None and not self._known:
            return ()  # nearly always
        keys: dict[bytes, None] = {}
        for key in created:
            _, namespace, _ = key.split(b"/", 2)
            if namespace:
                found = _START + b"/" + namespace
                if self._known is None or found in self._known:
                    keys[found] = None
        if not keys:
            return ()
        found_records = await self._store.get(tuple(keys), serializable=serializable)
        compares = []
        for key, record in zip(keys, found_records.records, strict=True):
            if record is not None:
                _check_open(key, decode_object(record))
                compares.append(Compare(key, record.mod_revision))
        return compares


def _check_open(key: bytes, namespace: StoredObject) -> None:
    metadata = namespace.metadata
    if metadata.HasField("delete_time"):
        name = ObjectKey.from_bytes(key).name
        raise FailedPreconditionError(
            f"namespace {name!r} is being deleted since {metadata.delete_time.ToJsonString()}, so nothing new can be "
            f"put there: wait until it is gone (ructl describe -t Namespace {name}), or use another one",
            namespace=name,
        )
