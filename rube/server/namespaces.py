"""The namespaces that have an object, as far as this server has seen: new objects are put into them only while they are
not under deletion.

Every put of a new object compares its namespace in its own transaction: one that has an object with what was read of
it, and one that has none, as most, with nothing, which needs no read. A server that hears of a new Namespace late
therefore loses the commit, and reads before it tries again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from rube.api.errors import FailedPreconditionError, RubeError
from rube.api.keys import ObjectKey, prefix_bytes, prefix_end
from rube.api.well_known import LEADER_NAMESPACE, NAMESPACE_TYPE, NODE_LEASE_NAMESPACE
from rube.host import Clock
from rube.server.feed import ChangeFeed
from rube.server.stored_object import StoredObject, decode_object
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
    """The keys of the Namespace objects in a store, kept up while `run` runs."""

    def __init__(self, clock: Clock, store: Store) -> None:
        self._clock = clock
        self._store = store
        # None: not known; then each is looked up.
        self._known: set[bytes] | None = None

    async def run(self, feed: ChangeFeed) -> None:
        """Follows the changes until cancelled."""
        while True:
            try:
                await self._follow(feed)
            except RubeError as error:
                _LOG.info("the namespaces are read again in %g s: %s", RETRY_S, error.message)
            self._known = None
            await self._clock.sleep(RETRY_S)

    async def _follow(self, feed: ChangeFeed) -> None:
        with feed.follow(NAMESPACE_TYPE) as follower:
            page = await self._store.range(_START, _END)
            self._known = known = {record.key for record in page.records}
            while (changed := await follower.take()) is not None:
                for key, exists in changed.items():
                    if exists:
                        known.add(key)
                    else:
                        known.discard(key)

    async def guard(self, created: Iterable[bytes], *, serializable: bool) -> Sequence[Compare]:
        """Returns what a transaction that creates objects under these keys compares.

        With `serializable`, what is known may be old: then a namespace is read only if it is known to have an object.
        Raises FailedPreconditionError if the namespace of one is under deletion.
        """
        keys: dict[bytes, int] = {}
        for key in created:
            _, namespace, _ = key.split(b"/", 2)
            if namespace:
                keys[_START + b"/" + namespace] = 0
        known = self._known if serializable else None
        read = tuple(key for key in keys if known is None or key in known)
        if read:
            found = await self._store.get(read, serializable=serializable)
            for key, record in zip(read, found.records, strict=True):
                if record is not None:
                    _check_open(key, decode_object(record))
                    keys[key] = record.mod_revision
        return [Compare(key, mod_revision) for key, mod_revision in keys.items()]


def _check_open(key: bytes, namespace: StoredObject) -> None:
    metadata = namespace.metadata
    if metadata.HasField("delete_time"):
        name = ObjectKey.from_bytes(key).name
        raise FailedPreconditionError(
            f"namespace {name!r} is being deleted since {metadata.delete_time.ToJsonString()}, so nothing new can be "
            f"put there: wait until it is gone (ructl describe -t Namespace {name}), or use another one",
            namespace=name,
        )
