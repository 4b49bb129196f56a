"""The line of a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from grpc import aio

from rube.api.errors import BusyError, RubeError
from rube.api.keys import ObjectKey
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.server.audit.lines import shortened
from rube.server.audit.log import AuditLog, UnwritableError
from rube.server.entrance.call import Call

OBJECTS_MAX: Final = 100
"""So many objects of a call are named."""
RULES_MAX: Final = 8
FOLDED_S: Final = 10
"""Calls that were refused for want of an identity or of a turn have one line in so long, each caller and verb."""
FOLDED_MAX: Final = 1_000
REFUSED: Final = frozenset(("PERMISSION_DENIED", "UNAUTHENTICATED"))


class Recorder:
    """Writes the lines of calls."""

    def __init__(self, log: AuditLog, clock: Clock) -> None:
        self.log = log
        self._clock = clock
        # When the next line of a kind that callers may cause without end is written, and the calls since the last.
        self._folded: dict[tuple[str, str, str], tuple[int, int]] = {}

    def admit(self, call: Call) -> None:
        """Raises ResourceExhaustedError for a call that has to be in the log while that cannot be written."""
        if call.is_audited or self.log.config.reads:
            self.log.check()

    def ended(self, call: Call, error: BaseException | None) -> None:
        """Writes the line of a call that has ended, or of a stream that has begun, if it is one that is written."""
        code = "OK" if error is None else code_of(call.failure or error)
        if isinstance(error, UnwritableError) or not (call.is_audited or self.log.config.reads or code in REFUSED):
            return
        did_nothing = error is not None and call.outcome is None
        if isinstance(error, BusyError) or code == "UNAUTHENTICATED" or (did_nothing and call.manner.is_open):
            repeated_times = self._fold((call.identity.subject.name or call.identity.host, call.verb, code))
            if repeated_times is None:
                return
            call.repeated_times = repeated_times
        self.log.write(fields_of_call(call, code))

    def _fold(self, alike: tuple[str, str, str]) -> int | None:
        """Returns how many calls alike had no line since the last that had; None: this one has none either. So a
        flood of calls that are refused before anything is done does not drive everything else out of the log."""
        now_ns = self._clock.monotonic_ns()
        next_ns, times = self._folded.pop(alike, (now_ns, 0))
        told = now_ns >= next_ns
        self._folded[alike] = (now_ns + FOLDED_S * NS_PER_S, 0) if told else (next_ns, times + 1)
        if len(self._folded) > FOLDED_MAX:
            del self._folded[next(iter(self._folded))]
        return times if told else None


def code_of(error: BaseException) -> str:
    """Returns the status code that a call ends with."""
    if isinstance(error, RubeError):
        return error.code
    if isinstance(error, NotImplementedError):
        return "UNIMPLEMENTED"
    if isinstance(error, aio.UsageError) or not isinstance(error, Exception):
        return "CANCELLED"  # the caller is gone
    return "INTERNAL"


def fields_of_call(call: Call, code: str) -> dict[str, Any]:
    """Returns a line's fields. What a caller has sent is in it as names alone: neither specs nor labels."""
    subject, address, fingerprint = call.identity
    fields: dict[str, Any] = {"subject": str(subject)}
    if subject.method:
        fields["proof"] = subject.method
    if fingerprint:
        fields["fingerprint"] = fingerprint
    fields["address"] = address
    fields["verb"] = call.verb
    if call.certified:
        fields["certified"] = shortened(call.certified)
    keys = call.keys()
    if keys:
        fields["objects"] = list(_objects(call, keys[:OBJECTS_MAX]))
    if len(keys) > OBJECTS_MAX:
        fields["moreObjects"] = len(keys) - OBJECTS_MAX
    if call.rules:
        fields["rules"] = list(call.rules)[:RULES_MAX]
    fields["code"] = code
    if getattr(call.request, "validate_only", False):
        fields["validateOnly"] = True
    if call.repeated_times:
        fields["repeatedTimes"] = call.repeated_times
    return fields


def _objects(call: Call, keys: list[ObjectKey]) -> Iterator[dict[str, Any]]:
    outcome = call.outcome
    for key in keys:
        found: dict[str, Any] = {"type": shortened(key.type)}
        if key.namespace:
            found["namespace"] = shortened(key.namespace)
        if key.name:
            found["name"] = shortened(key.name)
        if outcome is not None:
            raw = key.to_bytes()
            old = outcome.current.get(raw)
            if old is not None:
                found["oldRevision"] = old.metadata.revision
            if raw in outcome.decided and not getattr(call.request, "validate_only", False):
                found["newRevision"] = outcome.revision
                if outcome.decided[raw] is None:
                    found["deleted"] = True
        yield found
