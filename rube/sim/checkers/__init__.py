"""Who judges: pure functions from the history of a run to a verdict; they know no world and no component.

A checker takes a History and the parameters of its check, and returns a Verdict: whether it held, in plain words, and
the first events that show where it did not.
"""

from rube.sim.checkers.bindings import bindings, readiness
from rube.sim.checkers.conditions import conditions
from rube.sim.checkers.contents import Content, Contents
from rube.sim.checkers.defects import defects
from rube.sim.checkers.groups import raft_invariants
from rube.sim.checkers.history import (
    Asked,
    Attempt,
    Commit,
    Complaint,
    Cut,
    Delivery,
    Disturbance,
    ErrorsLogged,
    GroupHistory,
    History,
    Leadership,
    LogEntry,
    Outcome,
    Refusal,
    Sample,
    StatusPair,
    Stream,
    Term,
    Transition,
    UnitProbe,
    WatchEvent,
)
from rube.sim.checkers.latency import ALL_WATCHERS, LatencySummary, summarize_latency, watch_latency
from rube.sim.checkers.leadership import fencing, leases
from rube.sim.checkers.machines import Action, Copy, MachineHistory, actions, copies, starts
from rube.sim.checkers.reads import reads
from rube.sim.checkers.rest import RefusalSummary, comes_to_rest, summarize_refusals
from rube.sim.checkers.stored import contents
from rube.sim.checkers.units import converged, local_autonomy, never_on_two_nodes, status_reported, unit_state
from rube.sim.checkers.verdict import Verdict, many, time_text
from rube.sim.checkers.views import View, views
from rube.sim.checkers.watches import watch_promises
from rube.sim.checkers.writes import acknowledged_writes, revisions_monotonic

__all__ = [
    "ALL_WATCHERS",
    "Action",
    "Asked",
    "Attempt",
    "Commit",
    "Complaint",
    "Content",
    "Contents",
    "Copy",
    "Cut",
    "Delivery",
    "Disturbance",
    "ErrorsLogged",
    "GroupHistory",
    "History",
    "LatencySummary",
    "Leadership",
    "LogEntry",
    "MachineHistory",
    "Outcome",
    "Refusal",
    "RefusalSummary",
    "Sample",
    "StatusPair",
    "Stream",
    "Term",
    "Transition",
    "UnitProbe",
    "Verdict",
    "View",
    "WatchEvent",
    "acknowledged_writes",
    "actions",
    "bindings",
    "comes_to_rest",
    "conditions",
    "contents",
    "converged",
    "copies",
    "defects",
    "fencing",
    "leases",
    "local_autonomy",
    "many",
    "never_on_two_nodes",
    "raft_invariants",
    "readiness",
    "reads",
    "revisions_monotonic",
    "starts",
    "status_reported",
    "summarize_latency",
    "summarize_refusals",
    "time_text",
    "unit_state",
    "views",
    "watch_latency",
    "watch_promises",
]
