"""The audit log of a running server."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from rube.api.errors import DataLossError, ResourceExhaustedError
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.server.audit.files import AuditFiles
from rube.server.audit.lines import ChainHead, fields_of, line_of

_LOG = logging.getLogger("rube.security")
_READ_BYTES: Final = 1024 * 1024


class UnwritableError(ResourceExhaustedError):
    """The audit log cannot be written: a call that has to be in it was refused."""


class WhenFull(Enum):
    """The treatment of calls whose line cannot be written."""

    REFUSE = "refuse"
    """Refuses what has to be in the log until lines can be written again."""
    GO_ON = "go-on"
    """Calls go on, and the log says later how many lines it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """The calls that are logged, and bounds."""

    reads: bool = False
    """Also reads, and renewals of leases."""
    when_full: WhenFull = WhenFull.REFUSE
    part_bytes_max: int = 64 * 1024 * 1024
    """A file that is this large ends, and the next begins."""
    parts_max: int = 10
    """Files that are kept; the oldest goes."""
    sync_interval_s: float = 1.0
    """Lines are durable after so long: a loss of power takes those of this time."""
    waiting_lines_max: int = 10_000
    """Lines of calls that were carried out and could not be written yet."""


class AuditLog:
    """Lines, each in the operating system's hands before its call is answered."""

    def __init__(self, clock: Clock, files: AuditFiles, server: str, config: AuditConfig | None = None) -> None:
        self.config = config or AuditConfig()
        self.files = files
        self._clock = clock
        self._server = server
        self._head = ChainHead()
        self._part_bytes = 0
        """The bytes of the part that grows; 0: there is none, and the next line begins one."""
        # Lines that the disk did not take, oldest first, as fields: their numbers come when they are written.
        self._waiting: deque[dict[str, Any]] = deque()
        self._lost = 0
        self._torn_bytes = 0
        """After the last whole line, left by a crash."""
        self._fails = False
        self._broken: OSError | None = None
        self._unsynced = False
        self._grew: asyncio.Event | None = None

    @property
    def head(self) -> ChainHead:
        """The last line that was written."""
        return self._head

    def gauges(self) -> dict[str, float]:
        return {
            "rube_audit_lines": self._head.sequence,
            "rube_audit_lines_waiting": len(self._waiting),
            "rube_audit_lines_lost": self._lost,
        }

    def open(self) -> None:
        """Goes on after the last line that is there. Raises DataLossError if the end of the log cannot be read,
        ResourceExhaustedError if its start cannot be written."""
        try:
            self._recover()
            self._start()
        except OSError as error:
            raise _unwritable(error) from error
        _LOG.info("the audit log goes on after line %s", self._head)

    def check(self) -> None:
        """Raises ResourceExhaustedError if calls have to wait until lines can be written again."""
        if (self._waiting or self._broken) and not self._write_waiting() and self.config.when_full is WhenFull.REFUSE:
            raise UnwritableError(
                "the audit log cannot be written, and what it has to tell of is refused until it can: free some space "
                "on its disk",
                limit="audit",
            )

    def write(self, fields: dict[str, Any]) -> None:
        """Adds the line of a call that has ended."""
        fields = {"time": _text_of(self._clock.now_ns()), **fields}
        self._waiting.append(fields)
        if not self._write_waiting() and len(self._waiting) > self.config.waiting_lines_max:
            self._waiting.popleft()
            self._lost += 1

    async def run(self) -> None:
        """Syncs until cancelled, and tries again to write what waits."""
        try:
            while True:
                await self._clock.sleep(self.config.sync_interval_s)
                if self._waiting:
                    self._write_waiting()
                await self._sync()
        finally:
            await self._sync()

    @property
    def growth(self) -> asyncio.Event:
        """Is set when there are further lines than now."""
        if self._grew is None:
            self._grew = asyncio.Event()
        return self._grew

    async def _sync(self) -> None:
        if not self._unsynced or self._broken:
            return
        self._unsynced = False
        try:
            await self.files.sync()
        except OSError as error:
            # A failed sync is not tried again: the lines may be gone, and it would not say so.
            self._broken = error
            _LOG.error("the audit log could not be synced, and is not written any more until a restart: %s", error)

    def _recover(self) -> None:
        """Finds the end of the chain, in the last file with a whole line."""
        for part in reversed(self.files.parts()):
            head, self._part_bytes, self._torn_bytes = self._end_of(part)
            if head is not None:
                self._head = head
                return
        self._part_bytes = self._torn_bytes = 0

    def _end_of(self, part: int) -> tuple[ChainHead | None, int, int]:
        """Returns the last line of a file, its size, and the bytes after its last whole line."""
        place, last, rest = 0, b"", b""
        while data := self.files.read(part, place, _READ_BYTES):
            place += len(data)
            *lines, rest = (rest + data).split(b"\n")
            last = lines[-1] if lines else last
        if not last:
            return None, place, len(rest)
        try:
            fields = fields_of(last)
        except DataLossError as error:
            raise DataLossError(
                f"the last line of the audit log's file that begins with line {part} {error.message}: 'rube audit "
                "verify' says more; move its files aside to begin another log"
            ) from error
        return ChainHead(fields["sequence"], str(fields.get("hash"))), place, len(rest)

    def _write_waiting(self) -> bool:
        """Returns whether everything is written."""
        if self._broken:
            return False
        try:
            while self._waiting:
                if self._lost:
                    self._start()
                self._add(self._waiting[0])
                self._waiting.popleft()
        except OSError as error:
            if not self._fails:
                _LOG.error("the audit log cannot be written: %s", error)
            self._fails = True
            return False
        self._fails = False
        return True

    def _start(self) -> None:
        """Writes that the log goes on, in another file if the end of the last one is torn."""
        fields: dict[str, Any] = {"kind": "START"}
        if self._torn_bytes:
            fields["tornBytes"] = self._torn_bytes
        if self._lost:
            fields["lostLines"] = self._lost
        if self._torn_bytes or not self._part_bytes:
            self._begin(fields)
        else:
            self._append(*line_of(self._head, self._own(fields)))
        self._torn_bytes = self._lost = 0

    def _add(self, fields: dict[str, Any]) -> None:
        if self._part_bytes >= self.config.part_bytes_max:
            self._begin({"kind": "PART"})
        self._append(*line_of(self._head, fields))

    def _begin(self, fields: dict[str, Any]) -> None:
        """Begins another file with a line that says what is before it."""
        head, line = line_of(self._head, self._own(fields))
        self.files.begin(head.sequence, line)
        self._part_bytes = 0
        self._took(head, line)
        for part in self.files.parts()[: -self.config.parts_max]:
            self.files.remove(part)

    def _own(self, fields: dict[str, Any]) -> dict[str, Any]:
        time = _text_of(self._clock.now_ns())
        return {"time": time, **fields, "previous": self._head.hash, "server": self._server}

    def _append(self, head: ChainHead, line: bytes) -> None:
        self.files.append(line)
        self._took(head, line)

    def _took(self, head: ChainHead, line: bytes) -> None:
        self._head = head
        self._part_bytes += len(line)
        self._unsynced = True
        if self._grew is not None:
            self._grew.set()
            self._grew = None


def _text_of(now_ns: int) -> str:
    return f"{_second(now_ns // NS_PER_S)}.{now_ns % NS_PER_S // 1000:06d}Z"


@lru_cache(maxsize=2)
def _second(now_s: int) -> str:
    return f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%dT%H:%M:%S}"


def _unwritable(error: OSError) -> UnwritableError:
    return UnwritableError(
        f"the audit log cannot be written: {error.strerror or error}: choose a file in a directory that this user may "
        "write to and that has room",
        limit="audit",
    )
