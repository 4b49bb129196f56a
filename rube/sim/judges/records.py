"""The records of a run: clients' calls, commits, units that ran. Times are true virtual ns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    Deletion,
    Fence,
    GetRequest,
    ListRequest,
    Metadata,
    PatchRequest,
    PutRequest,
    RenewLeaseRequest,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
    WatchRequest,
)
from rube.api.errors import RubeError
from rube.api.keys import ObjectKey, key_of
from rube.api.well_known import LEASE_TYPE
from rube.sim.judges.contents import Content
from rube.sim.judges.selection import Selection
from rube.sim.judges.verdict import time_text

Request = (
    PutRequest
    | PatchRequest
    | ApplyRequest
    | DeleteRequest
    | UpdateStatusRequest
    | UpdateLifecycleRequest
    | RenewLeaseRequest
    | GetRequest
    | ListRequest
)


class Outcome(Enum):
    """The end of an attempt, as its client knows it."""

    OK = "ok"
    FAILED = "failed"
    """Nothing was written."""
    UNKNOWN = "unknown"
    """No answer: it may have been written."""


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """One request of any client, as it was sent and as it was answered."""

    client: str
    kind: str
    """`put`, `patch`, `apply`, `delete`, `update_status`, `update_lifecycle`, `renew_lease`, `get` or `list`."""
    request: Request
    start_ns: int
    user: bool = False
    """A user's, and not a daemon's."""
    server: str = ""
    """The server that it was sent to."""
    call: int = 0
    """The call of rube.client that it is an attempt of, counted by the client; 0 if it is not known."""
    end_ns: int | None = None
    """None: the client never learned of an end."""
    outcome: Outcome = Outcome.UNKNOWN
    revision: int = 0
    """The answer's revision; without an answer 0, and the following fields are empty."""
    store_id: str = ""
    objects: tuple[Content, ...] = ()
    """The objects of a get and of a list."""
    next_page_token: str = ""
    age_ns: int | None = None
    """The age that a relay gave its answer; None: none did."""
    metadata: tuple[Metadata, ...] = ()
    """The metadata of a put and of a status, in the order of the request."""
    deletions: tuple[Deletion, ...] = ()
    """The outcome for each object of a delete, in the order of the request."""
    error: RubeError | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The objects that the request names, as `type/namespace/name`; none for a list."""
        request = self.request
        if isinstance(request, PutRequest | ApplyRequest):
            return tuple(str(key_of(obj)) for obj in request.objects)
        if isinstance(request, PatchRequest):
            return (str(key_of(request.object)),)
        if isinstance(request, DeleteRequest):
            return tuple(str(ObjectKey.from_proto(key)) for key in request.keys)
        if isinstance(request, ListRequest):
            return ()
        if isinstance(request, RenewLeaseRequest):
            return (str(ObjectKey(LEASE_TYPE, request.namespace, request.name)),)
        return (str(ObjectKey.from_proto(request.key)),)

    @property
    def is_write(self) -> bool:
        """True if it was to change something: neither a read nor a validation."""
        request = self.request
        if isinstance(request, PutRequest | PatchRequest | ApplyRequest | DeleteRequest):
            return not request.validate_only
        return isinstance(request, UpdateStatusRequest | UpdateLifecycleRequest | RenewLeaseRequest)

    @property
    def fence(self) -> Fence | None:
        """The fence of a write that has one."""
        request = self.request
        if isinstance(request, GetRequest | ListRequest | RenewLeaseRequest) or not request.HasField("fence"):
            return None
        return request.fence

    @property
    def is_consistent(self) -> bool:
        """True if its answer must be as new as everything known before: not that of a read which asks for less."""
        request = self.request
        if not isinstance(request, GetRequest | ListRequest):
            return True
        continues = isinstance(request, ListRequest) and bool(request.page_token)
        return not (request.min_revision or request.revision or continues)

    @property
    def where(self) -> str:
        """Its time, client and request: the beginning of a finding."""
        request = self.request
        what = str(Selection.of(request)) if isinstance(request, ListRequest) else ", ".join(self.keys)
        return f"{time_text(self.start_ns)} {self.client}'s {self.kind} of {what}"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that the store acknowledged to an apiserver."""

    at_ns: int
    revision: int
    begun_ns: int | None = None
    """When the apiserver asked for it; None: at that very time."""

    @property
    def start_ns(self) -> int:
        return self.at_ns if self.begun_ns is None else self.begun_ns


@dataclass(slots=True, kw_only=True, eq=False)
class Asked:
    """A transaction that an apiserver asked its store for. Keys and values as they are stored; None: a delete."""

    server: str
    begun_ns: int
    changes: tuple[tuple[bytes, bytes | None], ...]
    revision: int = 0
    """The revision that was acknowledged."""
    refused: bool = False
    """A compare failed, a limit was passed: nothing of it may be there."""


@dataclass(frozen=True, slots=True)
class Term:
    """A new leader's term of a fence's group, as the store's log has it."""

    revision: int
    group: str
    term: int


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One change in the store's log, as it is on the disk in the end, in order. `content` None: a delete."""

    revision: int
    key: str
    content: Content | None

    @property
    def deleted(self) -> bool:
        return self.content is None


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A received event. The content of a delete is the object before it, with the revision of the change."""

    content: Content
    deleted: bool

    @property
    def revision(self) -> int:
        return self.content.revision

    @property
    def key(self) -> str:
        return self.content.key

    def __str__(self) -> str:
        return f"{'delete' if self.deleted else 'update'} of {self.key} at revision {self.revision}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One response of a watch, as its client took it."""

    at_ns: int
    events: tuple[WatchEvent, ...]
    revision: int
    """Everything up to here has been delivered; 0 while the initial objects go on."""
    store_id: str = ""
    bookmarks: tuple[int, ...] = ()
    """The revisions that bookmarks in it name."""
    initial_end: bool = False
    """The initial objects end here."""
    age_ns: int | None = None
    """The age that a relay gave the copy that it begins with; None: none did."""


@dataclass(frozen=True, slots=True)
class Told:
    """A call of an informer's handlers about one object: what it was before and what it is now; None: nothing."""

    at_ns: int
    key: str
    old: Content | None
    new: Content | None


@dataclass(slots=True, eq=False)
class Follower:
    """A client that keeps a copy with an informer of rube.client, from its start to its end, and what it was told."""

    client: str
    host: str = ""
    """The observer on whose machine it runs."""
    targets: Sequence[str] = ()
    """The servers that it may ask, in its order."""
    told: list[Told] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class Stream:
    """One watch of any client: its request, and each response in order."""

    client: str
    request: WatchRequest
    start_ns: int
    server: str = ""
    """The server that it was sent to."""
    observer: bool = False
    """True if it is an observer's; otherwise it is a daemon's."""
    deliveries: list[Delivery] = field(default_factory=list)
    end_ns: int | None = None
    """None: it is open, or its client never learned of an end."""
    error: RubeError | None = None

    @property
    def is_filtered(self) -> bool:
        """True if it is about less than all objects of its type."""
        return bool(self.request.namespace or self.request.name or self.request.label_selector)

    @property
    def changes(self) -> Sequence[Delivery]:
        """The events after the initial objects, if those were asked for."""
        if not self.request.send_initial:
            return self.deliveries
        ends = [place for place, delivery in enumerate(self.deliveries) if delivery.initial_end]
        return self.deliveries[ends[0] + 1 :] if ends else ()

    @property
    def where(self) -> str:
        """Its time, client and request: the beginning of a finding."""
        return f"{time_text(self.start_ns)} {self.client}'s watch of {Selection.of(self.request)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A unit's process started or ended on a machine."""

    at_ns: int
    node: str
    unit: str
    """`namespace/name`"""
    uid: str
    running: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """The problems at one time; none: converged."""

    at_ns: int
    problems: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class PutToRefuse:
    """A user's put that the apiserver is to refuse."""

    at_ns: int
    text: str
    """The step, as reports show it."""
    words: str
    """The error must have them."""
    answer: str | None = None
    """The error; empty: the put was acknowledged; None: it was not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that a controller's decision asked for was refused by the apiserver for good."""

    at_ns: int
    host: str
    controller: str
    key: str
    """The key of the object that was decided about."""
    code: str
    message: str


@dataclass(slots=True, kw_only=True)
class ErrorsLogged:
    """The errors that one logger on one host wrote."""

    host: str
    logger: str
    count: int = 0
    # The newest, and when it was logged.
    last: str = ""
    last_ns: int = 0


@dataclass(frozen=True, slots=True)
class DaemonError:
    """An error that a daemon logged, or ended with, at one moment."""

    at_ns: int
    host: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitProbe:
    """The state of a unit on a machine at one time."""

    at_ns: int
    asked: str
    """The machine that it was looked for on; empty: any."""
    node: str
    """The machine that has it, or should; empty: none has it."""
    unit: str
    state: str
    starts: int
    cut_off: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPair:
    """A unit's reported status beside its machine's, in the end; None if it is missing."""

    unit: str
    node: str
    generation: int
    reported_state: str | None
    reported_generation: int
    reported_node: str
    actual_state: str | None
    reported_process: str = ""
    """Its process, in words; empty if there is nothing to compare."""
    actual_process: str = ""


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
    """The history of the members of a replicated group; empty without a group."""

    steps: int = 0
    """The hash of all members' core steps."""
    elections: int = 0
    """The number of times that a member asked for votes."""
    leaderships: list[Leadership] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)
    """The first violated invariant, and its time."""


@dataclass(frozen=True, slots=True)
class Action:
    """A driver was asked to do something on a machine."""

    at_ns: int
    node: str
    id: str
    """The action's id from the controller, and a digest of the action."""
    thing: str
    what: str
    decided: bool = True
    """The decision was on the node's disk by then."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The store's copy on a rubelet's disk, as of the rubelet's revision."""

    at_ns: int
    node: str
    store_id: str
    revision: int
    objects: Mapping[str, Content]


@dataclass(slots=True)
class MachineHistory:
    """The history of the machines of nodes."""

    actions: list[Action] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    outages: list[tuple[int, str]] = field(default_factory=list)
    """(time, host): the host lost its power."""
    inherited: list[DaemonError] = field(default_factory=list)
    """A process that was started for one object went on under the name of another."""
    installed: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """(host, uid, generation) of what was installed, and when it was so first."""
    forgotten: list[DaemonError] = field(default_factory=list)
    """A controller was shown a memory that it had never asked to keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The objects that a controller saw as it decided."""

    at_ns: int
    host: str
    controller: str
    key: str
    """The object that it decided about; `own` None: it saw none."""
    own: Content | None
    related: tuple[Content, ...]
    whole: bool
    """True if it keeps whole objects, instead of parts of them."""
    selective: bool = False
    """True if it sees, or decides about, only some of the objects."""
    partial: bool = False
    """True if it sees no more than parts of any object."""
