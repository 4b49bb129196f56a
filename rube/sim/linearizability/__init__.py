"""Linearizability: one order of all calls, each within its time, explains every answer.

`check(calls, model)` looks for that order, for any program that keeps state behind calls: a register, a map, a store of
one's own. `history.py` has the calls and a recorder for tests, `models.py` the effect of a call on the state,
`checker.py` the search, `jepsen.py` the text format that other tools read and write. It needs nothing of Rube:
`rube check-history` judges histories of other programs too.
"""

from __future__ import annotations

from rube.sim.linearizability.checker import Violation, check
from rube.sim.linearizability.history import UNKNOWN, Call, Recorder
from rube.sim.linearizability.jepsen import print_history, read_history
from rube.sim.linearizability.models import REFUSED, KeyValue, Model, Refused, Register

__all__ = [
    "REFUSED",
    "UNKNOWN",
    "Call",
    "KeyValue",
    "Model",
    "Recorder",
    "Refused",
    "Register",
    "Violation",
    "check",
    "print_history",
    "read_history",
]
