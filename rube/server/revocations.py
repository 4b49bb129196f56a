"""The certificates that were taken back: auth.Revocation objects, kept up by a watch.

A server asks at each call, and when one is added it ends the calls that run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any, Final

from google.protobuf.message import DecodeError

from rube.api import Revocation
from rube.api.errors import RubeError
from rube.api.keys import prefix_bytes, prefix_end
from rube.api.spelling import quoted
from rube.api.times import NS_PER_S
from rube.api.types.violation import Violation
from rube.api.well_known import REVOCATION_TYPE
from rube.host import Clock
from rube.server.feed import ChangeFeed
from rube.server.rights.subjects import KINDS
from rube.server.scan import scan
from rube.server.stored_object import decode_object
from rube.store import Record, Store
from rube.transport.peers import CERTIFICATES_MAX, certificate_of, peer
from rube.trust.identity import Identity
from rube.trust.ports import BACKDATED_S

_LOG = logging.getLogger("rube.security")
_RETRY_S: Final = 1.0
_START: Final = prefix_bytes(REVOCATION_TYPE)
_END: Final = prefix_end(_START)


class Revocations:
    """The Admission of a server (rube.host.Admission), and the judge of renewals."""

    def __init__(self, store: Store, clock: Clock, begin_of: Callable[[bytes], int]) -> None:
        """`begin_of` returns when a certificate in PEM begins, in nanoseconds."""
        self._store = store
        self._clock = clock
        self._begin_of = lru_cache(maxsize=CERTIFICATES_MAX)(begin_of)
        self._by_key: dict[bytes, Revocation] = {}
        self._by_identity: dict[str, list[Revocation]] = {}
        self._listeners: list[Callable[[], None]] = []

    def refusal(self, context: Any) -> str:
        if not self._by_identity:
            return ""
        caller = peer(context)
        identity = f"{caller.kind}/{caller.name}"
        if identity not in self._by_identity:
            return ""
        return self._refusal(identity, self._begin_of(certificate_of(context)) + BACKDATED_S * NS_PER_S)

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._listeners.append(changed)

    def refusal_of(self, identity: Identity, made_ns: int) -> str:
        """Returns why a certificate that was made then is not good; "" if it is."""
        return self._refusal(f"{identity.kind}/{identity.name}", made_ns)

    async def run(self, feed: ChangeFeed) -> None:
        """Follows the store until cancelled. Whatever fails, it begins again; meanwhile what is known stands."""
        while True:
            try:
                await self._follow(feed)
            except RubeError as error:
                _LOG.info("the revocations are read again: %s", error.message)
            except Exception:
                _LOG.exception("the revocations are read again after an unexpected error")
            await self._clock.sleep(_RETRY_S)

    def _refusal(self, identity: str, made_ns: int) -> str:
        for each in self._by_identity.get(identity, ()):
            if not each.HasField("until_time") or made_ns <= each.until_time.ToNanoseconds():
                reason = f" ({each.reason})" if each.reason else ""
                return f"the certificate of {identity} was revoked{reason}: join again with a token"
        return ""

    async def _follow(self, feed: ChangeFeed) -> None:
        with feed.follow(REVOCATION_TYPE) as follower:
            self._hold(await self._read())
            while await follower.take() is not None:
                self._hold(await self._read())

    async def _read(self) -> dict[bytes, Revocation]:
        found = {}
        async with aclosing(scan(self._store, _START, _END)) as pages:
            async for page in pages:
                for record in page.records:
                    if (revocation := _read_one(record)) is not None:
                        found[record.key] = revocation
        return found

    def _hold(self, found: dict[bytes, Revocation]) -> None:
        if found == self._by_key:
            return
        self._by_key = dict(found)
        self._by_identity = {}
        for _, each in sorted(found.items()):
            self._by_identity.setdefault(each.identity, []).append(each)
        for changed in self._listeners:
            changed()


def _read_one(record: Record) -> Revocation | None:
    try:
        return Revocation.FromString(decode_object(record).spec_value())
    except DecodeError as error:
        _LOG.error("the revocation %r cannot be read, and revokes nothing: %s", record.key, error)
        return None


def revocation_violations(spec: bytes) -> Sequence[Violation]:
    """Returns the errors of a serialized auth.Revocation."""
    identity = Revocation.FromString(spec).identity
    kind, slash, name = identity.partition("/")
    if slash and kind in KINDS and name:
        return ()
    return (Violation("identity", f"is {quoted(identity)}: write user/, node/, controller/ or member/NAME"),)
