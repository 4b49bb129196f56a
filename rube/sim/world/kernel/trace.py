"""The trace: what happened in a world, in canonical form, folded into one sha256.

What it holds. The kernel records process start and end, power, pause, resume, clock steps and drift, and folds in
every timer that fires (its true time and its number). Network, disks, controllers and faults add their deliveries,
commits, decisions and actions. With `steps=True` the loop also folds in every callback it runs. Neither the seed nor
a file name is ever part of it: two programs that do the same have the same digest.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

Field = str | int | bytes
RECORDS_MAX = 100_000
"""So many of the newest records a trace keeps unless told otherwise."""

FOLD_RECORDS_MAX = 512
"""So many records wait for their encoding at most; encoding many at once is cheaper."""

FINGERPRINT_BYTES = 8
_FIELD_TYPES = frozenset({str, int, bytes})


def fingerprint(data: bytes | bytearray) -> bytes:
    """Returns a short hash of data that is too long for a field; Python's own differs between processes."""
    return hashlib.blake2b(data, digest_size=FINGERPRINT_BYTES).digest()


class TraceRecord(NamedTuple):
    """One line of the trace. `time_ns` is true virtual time."""

    time_ns: int
    kind: str
    fields: tuple[Field, ...]

    def __str__(self) -> str:
        """Returns the record as one line for a report."""
        shown = " ".join(f.hex() if isinstance(f, bytes) else str(f) for f in self.fields)
        return f"{self.time_ns / 1e9:.9f} {self.kind} {shown}".rstrip()


class Trace:
    """An append-only record of a run with an incremental digest and a bounded window of recent records."""

    def __init__(self, now_ns: Callable[[], int], *, records_max: int | None = RECORDS_MAX) -> None:
        """`records_max` bounds the window kept for reports (None keeps all); the digest covers everything."""
        self._now_ns = now_ns
        self._window: deque[tuple[int, str, tuple[Field, ...]]] = deque(maxlen=records_max)
        self._pending: list[tuple[int, str, tuple[Field, ...]]] = []
        self._sha = hashlib.sha256()
        self._pulse_sha = hashlib.sha256()
        self.pulses: list[int] = []
        """Numbers the loop appends for each timer or step: a record each would cost more than the timer."""
        self.records_total = 0

    def add(self, kind: str, *fields: Field) -> None:
        """Records that `kind` happened now. Fields are str, int or bytes; anything else raises TypeError.

        Floats, None, bools and objects are refused, because their text is where nondeterminism creeps in.
        """
        if type(kind) is not str or not _FIELD_TYPES.issuperset(map(type, fields)):
            wrong = next(type(field).__name__ for field in (*fields, kind) if type(field) not in _FIELD_TYPES)
            raise TypeError(f"trace record {kind!r}: {wrong} field; use str, int or bytes")
        record = (self._now_ns(), kind, fields)  # a TraceRecord for its reader: most are only folded
        self._window.append(record)
        self._pending.append(record)
        self.records_total += 1
        if len(self._pending) >= FOLD_RECORDS_MAX:
            self.fold()

    def note(self, kind: str, *fields: Field) -> None:
        """Adds to the records that are kept what is for a reader alone: neither in the digest nor in the count."""
        self._window.append((self._now_ns(), kind, fields))

    @property
    def records(self) -> tuple[TraceRecord, ...]:
        """The most recent records, oldest first, at most `records_max`."""
        return tuple(map(TraceRecord._make, self._window))

    def digest(self) -> str:
        """Returns the sha256, in hex, of everything recorded so far. Recording may go on afterwards."""
        self.fold()
        return hashlib.sha256(self._sha.digest() + self._pulse_sha.digest()).hexdigest()

    def fold(self) -> None:
        """Encode what waits into the digest. When this is called makes no difference to the digest."""
        if self._pending:
            # Python's own literals, in ASCII: no two different records have the same.
            self._sha.update("".join(map(ascii, self._pending)).encode())
            self._pending.clear()
        if self.pulses:
            packed = array("q", self.pulses)
            if sys.byteorder == "big":
                packed.byteswap()
            self._pulse_sha.update(packed.tobytes())
            self.pulses.clear()
