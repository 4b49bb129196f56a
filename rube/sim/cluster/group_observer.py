"""The observer of a replicated group from outside: its leaders, and whether Raft's invariants hold at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rube.group import MemberObserver
from rube.group.bootstrap import FIRST_INDEX
from rube.raft.invariants import InvariantError, Invariants
from rube.raft.raft_pb2 import ConfChangeV2, Entry, Message
from rube.raft.reads import ReadState
from rube.raft.state import Raft, Role
from rube.raft.storage import Storage
from rube.raft.trace import Step
from rube.sim.cluster.durability import DurableView, check_acknowledgement
from rube.sim.judges import GroupHistory, Leadership
from rube.sim.world.kernel import Trace


@dataclass(slots=True)
class _Seen:
    """`rube.raft.invariants.Member`, as it was last; a dead member's disk stays."""

    raft: Raft | None
    storage: Storage


class GroupWatch:
    """Sees all members of one group. `observer` makes the observer that a member is opened with."""

    def __init__(self, history: GroupHistory, now_ns: Callable[[], int], trace: Trace, *, judged: bool) -> None:
        """`judged`: the invariants are looked at, which is a fifth of the simulation's time."""
        self._judged = judged
        self._history = history
        self._now_ns = now_ns
        self._trace = trace
        self._members: dict[int, _Seen] = {}
        self._names: dict[int, str] = {}
        self.invariants = Invariants(self._members, committed=FIRST_INDEX)

    def observer(self, name: str, view: DurableView | None = None) -> MemberObserver:
        """Returns the observer of the member on that host, in all its incarnations. `view` is of its disk, which must
        have everything that it promises."""
        return _MemberWatch(self, name, view)

    @property
    def known(self) -> bool:
        """True once there has been a member."""
        return bool(self._members)

    def leader(self, is_running: Callable[[str], bool]) -> str:
        """Returns the host that leads in the newest term, of those that run; "": none does."""
        leading = {
            self._names[member]: seen.raft.term
            for member, seen in self._members.items()
            if seen.raft is not None and seen.raft.role is Role.LEADER and is_running(self._names[member])
        }
        return max(leading, key=lambda name: leading[name], default="")

    def stepped(self, name: str, raft: Raft, step: Step) -> None:
        """Notes a step of a member, before the invariants are looked at."""
        self._history.steps += 1
        match step:
            case Step.INIT_STATE:
                self._members[raft.id], self._names[raft.id] = _Seen(raft, raft.config.storage), name
            case Step.BECOME_CANDIDATE:
                self._history.elections += 1
            case Step.BECOME_LEADER:
                self._history.leaderships.append(Leadership(self._now_ns(), name, raft.term))
                self._trace.add("leads", name, raft.term)

    def judge(self, look: Callable[[], None]) -> None:
        """Notes the first invariant that does not hold. Later ones would follow from it."""
        if not self._judged or self._history.broken:
            return
        try:
            look()
        except InvariantError as error:
            self._history.broken.append((self._now_ns(), self._with_names(str(error))))

    def _with_names(self, text: str) -> str:
        for member, name in self._names.items():
            text = text.replace(str(member), name)
        return text


class _MemberWatch:
    """`rube.group.MemberObserver` of one member."""

    def __init__(self, group: GroupWatch, name: str, view: DurableView | None) -> None:
        self._group = group
        self._name = name
        self._view = view

    def __call__(
        self,
        raft: Raft,
        step: Step,
        /,
        *,
        message: Message | None = None,
        change: ConfChangeV2 | None = None,
        text: str = "",
    ) -> None:
        self._group.stepped(self._name, raft, step)
        self._group.judge(lambda: self._group.invariants(raft, step, message=message, change=change, text=text))
        if step is Step.READY:
            self._group.judge(self._group.invariants.check)

    def sent(self, message: Message) -> None:
        self._group.judge(lambda: self._group.invariants.sent(message))
        if (view := self._view) is not None:
            self._group.judge(lambda: check_acknowledgement(message, view, self._name))

    def applied(self, member: int, entry: Entry) -> None:
        self._group.judge(lambda: self._group.invariants.applied(member, entry))

    def restored(self, member: int, index: int) -> None:
        self._group.judge(lambda: self._group.invariants.restored(member, index))

    def read_asked(self, context: bytes) -> None:
        self._group.judge(lambda: self._group.invariants.read_asked(context))

    def read_answered(self, member: int, state: ReadState) -> None:
        self._group.judge(lambda: self._group.invariants.read_answered(member, state))
