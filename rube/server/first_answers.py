"""The answers of writes with a `request_id` (https://google.aip.dev/155): a repetition gets the first one.

An answer is a record under a key of its own, written in the transaction of the write, so that one is there exactly if
the other is, on whatever server. It lacks the revision of the commit, which is the record's own. A commit compares that
there is no record, so that of two attempts at the same time one is carried out. Writes without an id have no part in
any of this.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

from google.protobuf.message import Message

from rube.api import (
    ApplyRequest,
    ApplyResponse,
    DeleteRequest,
    DeleteResponse,
    Metadata,
    PatchRequest,
    PatchResponse,
    PutRequest,
    PutResponse,
    UpdateLifecycleRequest,
    UpdateLifecycleResponse,
    UpdateStatusRequest,
    UpdateStatusResponse,
)
from rube.api.errors import AbortedError, AlreadyExistsError, InvalidArgumentError, ResourceExhaustedError, RubeError
from rube.api.keys import INTERNAL_PREFIX, prefix_end
from rube.api.spelling import quoted
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.server.backend import Backend
from rube.server.known_types import GuardChangedError
from rube.server.scan import scan
from rube.server.writes import Intent, Outcome
from rube.store import Compare, Op, Store, Txn

_LOG = logging.getLogger("rube.server")

ID_CHARS_MAX: Final = 128
RETENTION_S: Final = 600.0
"""A record is kept for so long at least, by the steady clock of the server that removes it, and for two sweeps more at
most."""
RECORDS_MAX: Final = 50_000
"""The newest records that a sweep leaves, whatever their age."""
SWEEP_INTERVAL_S: Final = 60.0
_PREFIX: Final = INTERNAL_PREFIX + b"request/"
# A record: the id of its store, the digest of the request, the answer.
_PARTS: Final = (slice(0, 32), slice(32, 64), slice(64, None))
# Records that are removed in one transaction.
_REMOVED_MAX = 100

Write = PutRequest | PatchRequest | ApplyRequest | DeleteRequest | UpdateStatusRequest | UpdateLifecycleRequest
Answer = PutResponse | PatchResponse | ApplyResponse | DeleteResponse | UpdateStatusResponse | UpdateLifecycleResponse
R = TypeVar("R", PutRequest, PatchRequest, ApplyRequest, DeleteRequest, UpdateStatusRequest, UpdateLifecycleRequest)
A = TypeVar(
    "A", PutResponse, PatchResponse, ApplyResponse, DeleteResponse, UpdateStatusResponse, UpdateLifecycleResponse
)


async def answered_once(backend: Backend, request: R, answer: type[A], verb: Callable[[Backend, R], Awaitable[A]]) -> A:
    """Carries out a write, or returns the answer of the first request with its id.

    Raises AlreadyExistsError if that was another request, InvalidArgumentError for a bad id, and the errors of the
    verb. A write that failed has left no record: a repetition is carried out anew.
    """
    if not request.request_id or request.validate_only:
        return await verb(backend, request)
    check_request_id(request.request_id)
    if (first := await _first_answer(backend, request, answer)) is not None:
        return first
    try:
        return await verb(backend, request)
    except RubeError as error:
        # Perhaps it was carried out all the same: by another attempt, or by this one, whose commit was not answered.
        try:
            first = await _first_answer(backend, request, answer)
        except AlreadyExistsError:
            raise
        except RubeError:
            raise error from None
        if first is None:
            raise
        return first


async def carry_out(backend: Backend, request: Write, intent: Intent, respond: Callable[[Outcome], A]) -> A:
    """Carries out the intent of a request, remembers the answer if the request has an id, and returns it."""
    if not request.request_id or request.validate_only:
        return respond(await backend.writer.write(intent))
    key = _key(request.request_id)
    head = backend.store.store_id.encode() + _digest(backend, request)

    def remember(prospect: Outcome) -> Op:
        record = head + respond(prospect).SerializeToString(deterministic=True)
        if len(record) > (largest := backend.store.limits.value_bytes_max):
            raise ResourceExhaustedError(
                f"the answer of request {request.request_id!r} has {len(record)} bytes, and this store remembers at "
                f"most {largest} (value_bytes_max): leave request_id out, or write less at a time",
                limit=largest,
                value=len(record),
            )
        return Op(key, record)

    intent = intent._replace(guards=[*intent.guards, Compare(key, 0)], remember=remember)
    try:
        return respond(await backend.writer.write(intent))
    except GuardChangedError:
        found = await backend.store.get([key])
        if found.records[0] is None:
            raise
        raise AbortedError(f"another attempt of request {request.request_id!r} was carried out") from None


def check_request_id(request_id: str) -> None:
    """Raises InvalidArgumentError for an id that none can have."""
    plain = request_id.isascii() and request_id.isprintable() and " " not in request_id
    if len(request_id) > ID_CHARS_MAX or not plain:
        raise InvalidArgumentError(
            f"request_id {quoted(request_id)} is none: use 1 to {ID_CHARS_MAX} printable characters of ASCII without "
            "spaces, such as a UUID",
            field="request_id",
        )


async def _first_answer(backend: Backend, request: Write, answer: type[A]) -> A | None:
    """Returns the answer that is remembered for the request's id; None if there is none. Raises AlreadyExistsError."""
    key, store = _key(request.request_id), backend.store
    (record,) = (await store.get([key])).records
    if record is None:
        return None
    store_id, digest, encoded = (record.value[part] for part in _PARTS)
    if store_id.decode() != store.store_id:  # it came with a restored backup
        await store.commit(Txn((Op(key, None),), (Compare(key, record.mod_revision),)))
        return None
    if digest != _digest(backend, request):
        raise AlreadyExistsError(
            f"request_id {request.request_id!r} is that of another request, which was carried out at revision "
            f"{record.mod_revision}: give each request an id of its own",
            field="request_id",
            revision=record.mod_revision,
        )
    first = answer.FromString(encoded)
    _set_revision(first, record.mod_revision)
    return first


def _set_revision(answer: Answer, revision: int) -> None:
    """Fills in what was not known before the commit: its revision."""
    answer.revision = revision
    for metadata in _metadata_of(answer):
        metadata.revision = metadata.revision or revision
        metadata.create_revision = metadata.create_revision or revision


def _metadata_of(answer: Answer) -> Sequence[Metadata]:
    match answer:
        case PutResponse() | ApplyResponse():
            return answer.metadata
        case PatchResponse():
            return [answer.object.metadata]
        case UpdateStatusResponse() | UpdateLifecycleResponse():
            return [answer.metadata]
        case DeleteResponse():
            return []


def _key(request_id: str) -> bytes:
    return _PREFIX + request_id.encode()


def _digest(backend: Backend, request: Message) -> bytes:
    unnamed = type(request)()
    unnamed.CopyFrom(request)
    unnamed.ClearField("request_id")
    content = unnamed.SerializeToString(deterministic=True)
    return hashlib.sha256(f"{request.DESCRIPTOR.name} {backend.caller}".encode() + content).digest()


async def forget_periodically(
    clock: Clock,
    store: Store,
    *,
    retention_s: float = RETENTION_S,
    records_max: int = RECORDS_MAX,
    interval_s: float = SWEEP_INTERVAL_S,
) -> None:
    """Removes old records, until cancelled.

    The age of a record is not in it: this server notes the store's revision at each sweep, and what is not newer than
    a note of long ago is old. So no server's wall clock matters, and after a restart records are kept for longer.
    """
    notes: deque[tuple[int, int]] = deque()
    retention_ns = round(retention_s * NS_PER_S)
    while True:
        notes.append((clock.monotonic_ns(), store.revision))
        await clock.sleep(interval_s)
        expired = 0
        while notes and clock.monotonic_ns() - notes[0][0] >= retention_ns:
            _, expired = notes.popleft()
        try:
            await _forget(store, expired, records_max)
        except RubeError as error:
            _LOG.info("old answers of requests are forgotten later: %s", error.message)


async def _forget(store: Store, expired: int, records_max: int) -> None:
    """Removes the records up to the revision `expired`, and the oldest of more than `records_max`."""
    if not store.revision:
        return
    found: list[tuple[int, bytes]] = []
    # At a revision that this server knows: no other one is asked for it.
    async with aclosing(scan(store, _PREFIX, prefix_end(_PREFIX), revision=store.revision)) as pages:
        async for page in pages:
            found += [(record.mod_revision, record.key) for record in page.records]
    found.sort()
    old = [each for index, each in enumerate(found) if each[0] <= expired or index < len(found) - records_max]
    for first in range(0, len(old), _REMOVED_MAX):
        part = old[first : first + _REMOVED_MAX]
        await store.commit(
            Txn(tuple(Op(key, None) for _, key in part), tuple(Compare(key, revision) for revision, key in part))
        )
