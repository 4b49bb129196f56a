"""Reports in objects' statuses that this node's disk is full: from memory, since a report needs no room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from google.protobuf.message import Message

from rube.api import Object, UpdateStatusRequest
from rube.api.errors import DeadlineExceededError, RubeError, UnavailableError
from rube.api.keys import ObjectKey, key_of
from rube.api.types import pack
from rube.client import Client, FailureLog
from rube.host import Clock

_LOG = logging.getLogger("rube.rubelet")
WAITING_MAX = 1_000
"""Objects to be reported; past it the newest are left out, until they are not stored again."""
AGAIN_S_MIN = 30.0
"""The pause between two reports of one object in the same words."""
TOLD_MAX = 10_000
"""Objects whose report is remembered."""


UnstoredStatus = Callable[[str, str], Message]
"""Makes a status of a node's name and a reason."""


class _Unstored(NamedTuple):
    uid: str
    why: str


class UnstoredReports:
    """Reports the objects that the local store could not store. The object's next status of its own
    replaces the report."""

    def __init__(
        self, client: Client, clock: Clock, node: str, statuses: Mapping[str, UnstoredStatus], *, retry_s: float
    ) -> None:
        """`retry_s` is the pause after a report that no apiserver took."""
        self._client = client
        self._clock = clock
        self._node = node
        self._statuses = statuses
        self._retry_s = retry_s
        self._waiting: dict[ObjectKey, _Unstored] = {}
        self._told: dict[ObjectKey, tuple[_Unstored, int]] = {}
        self._wake = asyncio.Event()
        self._failures = FailureLog(_LOG, "reports about the disk")

    def note(self, obj: Object, error: RubeError) -> None:
        """Notes that an object was not stored, or a decision about it, even if only to report a change.

        Both in the same words: a report changes the object, which cannot be stored then either.
        """
        why = f"node {self._node} stores nothing new, and this status may be old: {error.message}"
        unstored, key = _Unstored(obj.metadata.uid, why), key_of(obj)
        if self._is_known(key, unstored, obj) or (key not in self._waiting and len(self._waiting) >= WAITING_MAX):
            return
        self._waiting[key] = unstored
        self._wake.set()

    async def run(self) -> None:
        """Sends reports until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                key = next(iter(self._waiting))
                unstored = self._waiting[key]
                if not await self._report(key, unstored):
                    await self._clock.sleep(self._retry_s)
                elif self._waiting.get(key) == unstored:
                    del self._waiting[key]

    def _is_known(self, key: ObjectKey, unstored: _Unstored, obj: Object) -> bool:
        wanted = self._status(key, unstored)
        stored = type(wanted)()
        obj.status.Unpack(stored)
        if all(getattr(stored, path) == getattr(wanted, path) for path in _paths(wanted)):
            return True
        told, told_ns = self._told.get(key, (None, 0))
        return told == unstored and self._clock.monotonic_ns() - told_ns < AGAIN_S_MIN * 1e9

    def _status(self, key: ObjectKey, unstored: _Unstored) -> Message:
        return self._statuses[key.type](self._node, unstored.why)

    async def _report(self, key: ObjectKey, unstored: _Unstored) -> bool:
        """Returns False if no apiserver could be asked. A refusal (the object was deleted) counts as done."""
        status = self._status(key, unstored)
        request = UpdateStatusRequest(key=key.to_proto(), uid=unstored.uid, status=pack(status))
        request.keep_unknown_fields = True
        request.update_mask.paths.extend(_paths(status))
        try:
            await self._client.update_status(request)
        except (UnavailableError, DeadlineExceededError) as error:
            self._failures.failed(error.message)
            return False
        except RubeError as error:
            _LOG.info("%s: the apiserver refuses its status: %s", key, error.message)
        self._failures.works()
        while len(self._told) >= TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._told[key] = unstored, self._clock.monotonic_ns()
        return True


def _paths(status: Message) -> list[str]:
    """The fields that are set, sorted."""
    return sorted(field.name for field, _ in status.ListFields())
