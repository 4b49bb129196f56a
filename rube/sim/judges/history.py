"""The history of a run: all that judges judge. Times are true virtual nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.message import Message

from rube.sim.judges.contents import Contents
from rube.sim.judges.records import (
    Asked,
    Attempt,
    Commit,
    Cut,
    DaemonError,
    Disturbance,
    ErrorsLogged,
    Follower,
    GroupHistory,
    LogEntry,
    MachineHistory,
    PutToRefuse,
    Refusal,
    Sample,
    StatusPair,
    Stream,
    Term,
    Transition,
    UnitProbe,
    View,
)
from rube.sim.judges.timeline import Timeline


@dataclass(slots=True)
class History:
    """Everything the judges judge. Each list is in the order of its times; attempts and streams of their starts."""

    contents: Contents = field(default_factory=Contents)
    """Every version that was written, stored or received."""
    attempts: list[Attempt] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    store_id: str = ""
    store_ids: set[str] = field(default_factory=set)
    """The ids of all stores that apiservers opened."""
    streams: list[Stream] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)
    final: dict[str, int] = field(default_factory=dict)
    """Key to revision of every unit there is in the end, as the API lists them."""
    transitions: list[Transition] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    # The hosts with a rubelet, and those whose daemon does not run in the end.
    nodes: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    refusals: list[Refusal] = field(default_factory=list)
    to_refuse: list[PutToRefuse] = field(default_factory=list)
    errors: dict[tuple[str, str], ErrorsLogged] = field(default_factory=dict)
    """By host and logger."""
    exceptions: list[DaemonError] = field(default_factory=list)
    """Exceptions that are not Rube's errors and were logged with their traceback."""
    # Daemons that ended because their writes were lost or damaged; and the hosts whose disk failed.
    losses: list[DaemonError] = field(default_factory=list)
    failed_disks: set[str] = field(default_factory=set)
    # Hosts whose disk has lost what it had reported as durable: a member there finds that Raft's invariants are broken.
    forgetful_disks: set[str] = field(default_factory=set)
    probes: list[UnitProbe] = field(default_factory=list)
    statuses: list[StatusPair] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    # The groups of the apiservers that replicate their store, of an etcd's members, and of the replicated controllers.
    group: GroupHistory = field(default_factory=GroupHistory)
    etcd: GroupHistory = field(default_factory=GroupHistory)
    controllers: GroupHistory = field(default_factory=GroupHistory)
    machines: MachineHistory = field(default_factory=MachineHistory)
    # When the last step or fault ended, and when the world did.
    quiet_ns: int = 0
    end_ns: int = 0
    messages: dict[str, type[Message]] = field(default_factory=dict)
    """The messages of types that users push, by full name."""
    _timeline: Timeline | None = None

    @property
    def timeline(self) -> Timeline:
        """The history of contents, by the log. Use it once the log is complete."""
        if self._timeline is None:
            self._timeline = Timeline(self.log, self.messages)
        return self._timeline
