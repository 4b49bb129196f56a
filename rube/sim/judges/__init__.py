"""The judges: pure functions from the history of a run to a verdict; they know no world and no component.

A judge takes a History and the parameters of its check, and returns a Verdict: whether it held, in plain words, and the
first events that show a violation.
"""

from __future__ import annotations

from rube.sim.judges.bindings import bindings, readiness
from rube.sim.judges.clients import clients
from rube.sim.judges.conditions import conditions
from rube.sim.judges.contents import Content, Contents
from rube.sim.judges.defects import defects
from rube.sim.judges.followers import followers
from rube.sim.judges.groups import raft_invariants
from rube.sim.judges.history import History
from rube.sim.judges.latency import ALL_WATCHERS, LatencySummary, percentile, summarize_latency, watch_latency
from rube.sim.judges.leadership import fencing, leases
from rube.sim.judges.machines import actions, copies, generations, memories, owners, starts
from rube.sim.judges.orphans import orphans
from rube.sim.judges.positions import positions
from rube.sim.judges.reads import reads
from rube.sim.judges.records import (
    Action,
    Asked,
    Attempt,
    Commit,
    Copy,
    Cut,
    DaemonError,
    Delivery,
    Disturbance,
    ErrorsLogged,
    Follower,
    GroupHistory,
    Leadership,
    LogEntry,
    MachineHistory,
    Outcome,
    PutToRefuse,
    Refusal,
    Sample,
    StatusPair,
    Stream,
    Term,
    Told,
    Transition,
    UnitProbe,
    View,
    WatchEvent,
)
from rube.sim.judges.refused import refused
from rube.sim.judges.rest import RefusalSummary, comes_to_rest, summarize_refusals
from rube.sim.judges.stored import contents
from rube.sim.judges.units import converged, local_autonomy, never_on_two_nodes, status_reported, unit_state
from rube.sim.judges.verdict import Verdict, many, time_in, time_text
from rube.sim.judges.views import views
from rube.sim.judges.watches import watch_promises
from rube.sim.judges.writes import acknowledged_writes, revisions_monotonic

__all__ = [
    "ALL_WATCHERS",
    "Action",
    "Asked",
    "Attempt",
    "Commit",
    "Content",
    "Contents",
    "Copy",
    "Cut",
    "DaemonError",
    "Delivery",
    "Disturbance",
    "ErrorsLogged",
    "Follower",
    "GroupHistory",
    "History",
    "LatencySummary",
    "Leadership",
    "LogEntry",
    "MachineHistory",
    "Outcome",
    "PutToRefuse",
    "Refusal",
    "RefusalSummary",
    "Sample",
    "StatusPair",
    "Stream",
    "Term",
    "Told",
    "Transition",
    "UnitProbe",
    "Verdict",
    "View",
    "WatchEvent",
    "acknowledged_writes",
    "actions",
    "bindings",
    "clients",
    "comes_to_rest",
    "conditions",
    "contents",
    "converged",
    "copies",
    "defects",
    "fencing",
    "followers",
    "generations",
    "leases",
    "local_autonomy",
    "many",
    "memories",
    "never_on_two_nodes",
    "orphans",
    "owners",
    "percentile",
    "positions",
    "raft_invariants",
    "readiness",
    "reads",
    "refused",
    "revisions_monotonic",
    "starts",
    "status_reported",
    "summarize_latency",
    "summarize_refusals",
    "time_in",
    "time_text",
    "unit_state",
    "views",
    "watch_latency",
    "watch_promises",
]
