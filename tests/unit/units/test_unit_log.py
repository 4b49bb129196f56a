"""A rubelet's log of its units: each start, stop and failure, and not without end."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rube.api import Decision, State, UnitObservation, UnitStatus
from rube.api.keys import ObjectKey
from rube.controllers.config import Decided
from rube.host import RealClock
from rube.units.unit_log import LINES_PER_INTERVAL_MAX, UnitLog


class Clock(RealClock):
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_ns(self) -> int:
        return round(self.now_s * 1e9)


class Bench:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "rube.units")
        self.caplog = caplog
        self.clock = Clock()
        self.log = UnitLog(self.clock)

    def see(self, name: str = "web", *, installed: bool = True, error: str = "", **status: object) -> list[str]:
        """The lines that one more observation gives."""
        observed = UnitObservation(installed=installed, error=error, status=UnitStatus(**status))  # type: ignore[arg-type]
        state = State()
        state.observed.Pack(observed)
        before = len(self.caplog.messages)
        key = ObjectKey("api.systemd.Unit", "default", name)
        self.log.note(Decided(controller="unit", key=key, state=state, decision=Decision()))
        self.clock.now_s += 0.5
        return self.caplog.messages[before:]


RUNS: dict[str, Any] = {"active_state": "active", "sub_state": "running", "main_pid": 7}


def test_a_life_in_lines(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(caplog)
    assert bench.see(active_state="inactive") == [], "it was never up"
    assert bench.see(**RUNS) == ["unit default/web started (pid 7)"]
    assert bench.see(**RUNS) == []
    assert bench.see(active_state="deactivating") == []
    assert bench.see(active_state="inactive") == ["unit default/web stopped"]
    failed = bench.see(active_state="failed", result="exit-code", exit_code=1, exit_status=3, log_tail=["a", "oh no"])
    assert failed == ["unit default/web failed (exit-code, status 3): oh no"]
    assert bench.see(installed=False) == ["unit default/web removed"]
    assert bench.see(installed=False) == []
    assert bench.see(**RUNS) == ["unit default/web started (pid 7)"]


def test_a_crash_loop_gives_a_line_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(caplog)
    for turn in range(100):
        bench.see(active_state="active", main_pid=turn + 1, restarts=turn)
        bench.see(active_state="activating", sub_state="auto-restart", result="exit-code", restarts=turn)
    about = [line for line in caplog.messages if "default/web" in line]
    assert 10 <= len(about) <= 24
    assert any("restarted" in line for line in about)
    assert any("were left out" in line for line in caplog.messages)


def test_a_thousand_units_at_once_give_a_bounded_number_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(caplog)
    for number in range(1000):
        bench.see(f"u{number}", **RUNS)
        bench.clock.now_s = 0.0
    assert len(caplog.messages) == LINES_PER_INTERVAL_MAX
    bench.clock.now_s = 60.0
    assert bench.see("one-more", **RUNS) == [
        f"{1000 - LINES_PER_INTERVAL_MAX} more lines about units were left out",
        "unit default/one-more started (pid 7)",
    ]


def test_what_a_unit_needs_a_hand_for_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(caplog)
    bench.see(**RUNS)
    said = bench.see(error="process 7 (su, uid 0) may not be signalled", active_state="deactivating")
    assert said == ["unit default/web needs a hand: process 7 (su, uid 0) may not be signalled"]
    assert bench.see(error="process 7 (su, uid 0) may not be signalled", active_state="deactivating") == []
