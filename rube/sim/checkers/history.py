"""The history of a run: what clients did and saw, what was committed, what ran where. Times are true virtual ns."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Outcome(Enum):
    """How an attempt ended, as its client knows it."""

    OK = "ok"
    # Nothing was written.
    FAILED = "failed"
    # No answer: it may have been written.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request of a client. Keys are `type/namespace/name`."""

    client: str
    kind: str
    keys: tuple[str, ...]
    start_ns: int
    end_ns: int
    outcome: Outcome
    # Of the answer; 0 without one.
    revision: int = 0
    # The revision of each key's object as the answer gave it, which an unchanged put leaves as it was.
    object_revisions: tuple[int, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that the store acknowledged to an apiserver."""

    at_ns: int
    revision: int
    # When the apiserver asked for it; None: at that very moment.
    begun_ns: int | None = None

    @property
    def start_ns(self) -> int:
        return self.at_ns if self.begun_ns is None else self.begun_ns


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One change in the store's log, as it is on the disk in the end, in order."""

    revision: int
    key: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class WatchEvent:
    revision: int
    key: str
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message of a watch, as an observer received it."""

    observer: str
    at_ns: int
    # Grows when the observer lists anew; not when it resumes.
    session: int
    # Of the objects that existed at first.
    initial: bool
    events: tuple[WatchEvent, ...]
    # Everything up to here has been delivered.
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A unit's process started or ended on a machine."""

    at_ns: int
    node: str
    # `namespace/name`
    unit: str
    uid: str
    running: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was not yet as it should be at one moment; nothing: converged."""

    at_ns: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitProbe:
    """What a machine said of a unit at one moment."""

    at_ns: int
    node: str
    unit: str
    state: str
    starts: int
    cut_off: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPair:
    """A unit's reported status beside what its machine says, in the end; None where there is none."""

    unit: str
    node: str
    generation: int
    reported_state: str | None
    reported_generation: int
    reported_node: str
    actual_state: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A host was cut off from the others for a while."""

    host: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """A unit was made to crash, or was removed by hand."""

    at_ns: int
    node: str
    unit: str
    kind: str


@dataclass(frozen=True, slots=True)
class Leadership:
    """A member of a replicated group was elected."""

    at_ns: int
    member: str
    term: int


@dataclass(slots=True)
class GroupHistory:
    """What the members of a replicated group did; nothing without one."""

    # Of all members' cores.
    steps: int = 0
    # How often a member asked for votes.
    elections: int = 0
    leaderships: list[Leadership] = field(default_factory=list)
    # When an invariant did not hold, and which: the first one.
    broken: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class History:
    """Everything the checkers judge. Each list is in the order of its times."""

    attempts: list[Attempt] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    # Key to revision of every object there is in the end, as the API lists them.
    final: dict[str, int] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    probes: list[UnitProbe] = field(default_factory=list)
    statuses: list[StatusPair] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    # Of the apiservers that replicate their store, and of the replicated controllers.
    group: GroupHistory = field(default_factory=GroupHistory)
    controllers: GroupHistory = field(default_factory=GroupHistory)
    # When the last step or fault ended, and when the world did.
    quiet_ns: int = 0
    end_ns: int = 0
