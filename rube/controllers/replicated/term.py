"""One term of one leader: the engine and the calls of its controllers, and the end of their right to act.

A term ends when this member stops leading, when another term has begun, when a commit failed (its outcome is then
unknown, and only a new term's reading of the rows shows it), or when the apiserver knows a later term.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator, Sequence
from typing import TypeVar

from rube.api import (
    ApplyRequest,
    ApplyResponse,
    DeleteRequest,
    DeleteResponse,
    GetRequest,
    GetResponse,
    PatchRequest,
    PatchResponse,
    PutRequest,
    PutResponse,
    UpdateLifecycleRequest,
    UpdateLifecycleResponse,
    UpdateStatusRequest,
    UpdateStatusResponse,
)
from rube.api.errors import AbortedError, RubeError, UnimplementedError
from rube.client import Client
from rube.controllers.replicated.rows import Rows, commit_command
from rube.group import Member
from rube.host import Write
from rube.host.engine import Snapshot

_LOG = logging.getLogger("rube.controllers")

FENCE_PREFIX = "replicated/"
"""The beginning of the fence's group, before the controller's name: an election by lease counts terms of its own."""
_T = TypeVar("_T")


class TermOverError(Exception):
    """The reason why the term is over."""


class LeaderTerm:
    """A term that holds from the start until it is over, and never again."""

    def __init__(self, member: Member, rows: Rows, number: int) -> None:
        self.number = number
        self.above = 0
        """What the next term must be greater than, as the apiserver told; 0: it told nothing."""
        self._member = member
        self._rows = rows
        self._raft_term = member.term
        self._over = asyncio.Event()
        self._why = ""
        rows.on_term = self._check

    @property
    def leads(self) -> bool:
        """True if the member leads, and has all the time."""
        return self._member.leads and self._member.term == self._raft_term and not self._member.failed.done()

    def holds(self) -> bool:
        """Returns whether its controllers may still act."""
        return not self._over.is_set() and self.leads and self._rows.term == self.number

    def end(self, why: str) -> None:
        self._why = self._why or why
        self._over.set()

    async def over(self) -> None:
        """Waits for the end of the term, and raises TermOverError."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch_leadership())
            await self._over.wait()
            watching.cancel()
        raise TermOverError(self._why)

    async def _watch_leadership(self) -> None:
        while self.leads:
            await self._member.led()
        self.end("another member is to lead")

    def _check(self) -> None:
        if self._rows.term != self.number:
            self.end(f"term {self._rows.term} has begun")


class ReplicatedEngine:
    """A `rube.host.Engine` of one term: a commit returns when a quorum has it; reads are of this member's copy, which
    has everything that earlier terms have committed.

    Once a commit has failed the term is over.
    """

    def __init__(self, member: Member, rows: Rows, term: LeaderTerm) -> None:
        self._member = member
        self._rows = rows
        self._term = term

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self._rows.scan(start, end, limit=limit, reverse=reverse)

    async def commit(self, batch: Sequence[Write]) -> None:
        try:
            await self._member.propose(commit_command(self._term.number, batch))
        except RubeError as error:
            self._term.end(f"a commit failed: {error.message}")
            raise

    def snapshot(self) -> Snapshot:
        raise UnimplementedError("the rows of replicated controllers have no snapshots: scan them")

    async def checkpoint(self, path: str) -> None:
        raise UnimplementedError("replicated controllers' memory needs no copy: each member has all of it")

    def size_bytes(self) -> int:
        return 0

    def inspect(self) -> Iterator[str]:
        return iter(())

    async def close(self) -> None:
        """Does nothing: the caller keeps the member."""


class FencedCalls:
    """The `rube.controllers.ports.Calls` of a term; it ends the term if the apiserver knows a later one."""

    def __init__(self, client: Client, term: LeaderTerm, group: str) -> None:
        self._client = client
        self._term = term
        self._group = group

    async def get(self, request: GetRequest) -> GetResponse:
        return await self._client.get(request)

    async def put(self, request: PutRequest) -> PutResponse:
        return await self._fenced(self._client.put(request))

    async def patch(self, request: PatchRequest) -> PatchResponse:
        return await self._fenced(self._client.patch(request))

    async def apply(self, request: ApplyRequest) -> ApplyResponse:
        return await self._fenced(self._client.apply(request))

    async def delete(self, request: DeleteRequest) -> DeleteResponse:
        return await self._fenced(self._client.delete(request))

    async def update_status(self, request: UpdateStatusRequest) -> UpdateStatusResponse:
        return await self._fenced(self._client.update_status(request))

    async def update_lifecycle(self, request: UpdateLifecycleRequest) -> UpdateLifecycleResponse:
        return await self._fenced(self._client.update_lifecycle(request))

    async def _fenced(self, call: Awaitable[_T]) -> _T:
        try:
            return await call
        except AbortedError as error:
            if error.metadata.get("fence") == self._group:
                self._overtaken(int(error.metadata.get("term", "0")))
            raise

    def _overtaken(self, seen: int) -> None:
        # A call that an earlier term left in the outbox carries that term's fence: it may be older than this term.
        if seen > self._term.number:
            _LOG.warning("%s: the apiserver has seen term %d, this is %d", self._group, seen, self._term.number)
            self._term.above = max(self._term.above, seen)
            self._term.end(f"the apiserver has seen term {seen} of {self._group}")
