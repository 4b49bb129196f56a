"""The decision when to report a unit's status: at once for a change of meaning, seldom for counters."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import UnitMemory, UnitStatus

INTERVAL_MS_MIN = 1_000
"""Between any two reports of one unit."""
NOISE_INTERVAL_MS_MIN = 10_000
"""Between reports that only bring a unit's noise: what moves with each turn of a crash loop."""
_NOISE = ("sub_state", "main_pid", "exit_code", "exit_status", "restarts", "active_time")


class NextReport(NamedTuple):
    """The decision: report now; or look again after `wait_ns`; or neither: nothing is new."""

    now: bool
    wait_ns: int = 0


def report(seen: UnitStatus, status: UnitStatus, memory: UnitMemory, now: Timestamp) -> NextReport:
    """Compares `status` with what the apiserver was `seen` to hold; `memory` knows when a report was last asked for."""
    if status == seen:
        return NextReport(now=False)
    if not memory.HasField("report_time"):
        return NextReport(now=True)
    interval_ms = NOISE_INTERVAL_MS_MIN if _is_noise(seen, status) else INTERVAL_MS_MIN
    passed_ns = now.ToNanoseconds() - memory.report_time.ToNanoseconds()
    wait_ns = interval_ms * 1_000_000 - passed_ns
    if wait_ns <= 0 or passed_ns < 0:  # the clock was set back: don't wait for it
        return NextReport(now=True)
    return NextReport(now=False, wait_ns=wait_ns)


def _is_noise(seen: UnitStatus, status: UnitStatus) -> bool:
    return _meaning(seen) == _meaning(status)


def _meaning(status: UnitStatus) -> UnitStatus:
    meaning = UnitStatus()
    meaning.CopyFrom(status)
    for field in _NOISE:
        meaning.ClearField(field)  # type: ignore[arg-type]  # the names are a constant above
    if meaning.active_state == "activating":  # the failure before a restart comes and goes with `sub_state`
        meaning.ClearField("message")
    return meaning
