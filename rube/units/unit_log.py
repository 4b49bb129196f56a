"""Logs each start, stop, failure and trouble of a unit, as the controller sees them: one line each, not too many."""

from __future__ import annotations

import logging

from rube.api import UnitObservation, UnitStatus
from rube.api.keys import ObjectKey
from rube.api.times import NS_PER_S
from rube.controllers.config import Decided
from rube.host import Clock

_LOG = logging.getLogger("rube.units")
UNIT_INTERVAL_S_MIN = 10.0
"""Between two lines of the same kind of one unit: a crash loop gives a line so often."""
LINES_PER_INTERVAL_MAX = 100
INTERVAL_S = 10.0
"""The interval and its lines are those of all units together."""


class UnitLog:
    """Remembers its last lines about each installed unit."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[ObjectKey, tuple[str, int]] = {}
        self._errors: dict[ObjectKey, str] = {}
        self._said_ns: dict[tuple[ObjectKey, str], int] = {}
        self._interval_ns = 0
        self._lines = 0
        self._left_out = 0

    def note(self, decided: Decided) -> None:
        """Observes the unit controller's decisions."""
        if decided.state.observe_error:
            return
        observed = UnitObservation()
        decided.state.observed.Unpack(observed)
        key, status = decided.key, observed.status
        before = self._known.get(key)
        if not observed.installed:
            self._forget(key)
            if before is not None:
                self._say(key, "removed", "")
            return
        if observed.error and observed.error != self._errors.get(key):
            self._say(key, "needs a hand", f": {observed.error}", level=logging.WARNING)
        self._errors[key] = observed.error
        now = (_kind(status), status.main_pid if status.active_state == "active" else 0)
        if now == before:
            return
        self._known[key] = now
        if now[0] and (now[0] != "stopped" or before is not None):
            self._say(key, now[0], _detail(status, now[0]))

    def _forget(self, key: ObjectKey) -> None:
        self._known.pop(key, None)
        self._errors.pop(key, None)
        for kind in ("started", "stopped", "failed", "needs a hand"):
            self._said_ns.pop((key, kind), None)

    def _say(self, key: ObjectKey, kind: str, detail: str, *, level: int = logging.INFO) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._interval_ns >= INTERVAL_S * NS_PER_S:
            if self._left_out:
                _LOG.info("%d more lines about units were left out", self._left_out)
            self._interval_ns, self._lines, self._left_out = now_ns, 0, 0
        said_ns = self._said_ns.get((key, kind))
        too_soon = said_ns is not None and now_ns - said_ns < UNIT_INTERVAL_S_MIN * NS_PER_S
        if too_soon or self._lines >= LINES_PER_INTERVAL_MAX:
            self._left_out += 1
            return
        self._lines += 1
        if kind != "removed":
            self._said_ns[(key, kind)] = now_ns
        _LOG.log(level, "unit %s/%s %s%s", key.namespace, key.name, kind, detail)


def _kind(status: UnitStatus) -> str:
    """Returns `started`, `stopped`, `failed`; empty while it is on its way."""
    if status.active_state == "failed" or (status.sub_state == "auto-restart" and status.result != "success"):
        return "failed"
    return {"active": "started", "inactive": "stopped"}.get(status.active_state, "")


def _detail(status: UnitStatus, kind: str) -> str:
    restarts = f", restarted {status.restarts} times" if status.restarts else ""
    if kind == "started":
        return f" (pid {status.main_pid}{restarts})" if status.main_pid else f" ({status.sub_state}{restarts})"
    if kind == "failed":
        how = f", status {status.exit_status}" if status.exit_code else ""
        last = f": {status.log_tail[-1]}" if status.log_tail else ""
        return f" ({status.result}{how}{restarts}){last}"
    return ""
