"""A cluster of cores on a bad network, with disks that survive crashes; every step is the caller's choice.

After every step the invariants are checked.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rube.raft.config import APPEND_THREAD, APPLY_THREAD, RaftConfig
from rube.raft.errors import ProposalDroppedError, UnknownPeerError
from rube.raft.invariants import Invariants
from rube.raft.node import RawNode
from rube.raft.progress import ProgressState
from rube.raft.raft_pb2 import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeV2,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    Snapshot,
)
from rube.raft.state import Raft, Role
from rube.raft.storage import MemoryStorage

START = 2
"""The index at which every first voter and learner starts."""
MESSAGES_MAX = 200


class Site:
    """A machine: the disk stays, the core and the state machine are lost in a crash."""

    def __init__(self, number: int, storage: MemoryStorage) -> None:
        self.number = number
        self.storage = storage
        self.raw: RawNode | None = None
        self.appends: deque[Message] = deque()
        self.applies: deque[Message] = deque()
        # The state machine: a digest of all that it was given, and the configuration.
        self.applied = 0
        self.state = b""
        self.conf_state = ConfState()

    @property
    def raft(self) -> Raft | None:
        return None if self.raw is None else self.raw.raft


class World:
    """The sites, and the messages on their way."""

    def __init__(self, voters: int, learners: int, options: Mapping[str, Any], *, spares: int = 2) -> None:
        first = Snapshot(data=b"first")
        first.metadata.index, first.metadata.term = START, 1
        first.metadata.conf_state.voters.extend(range(1, voters + 1))
        first.metadata.conf_state.learners.extend(range(voters + 1, voters + learners + 1))
        self.options = options
        self.sites: dict[int, Site] = {}
        self.network: list[Message] = []
        self.reads = 0
        self.proposals = 0
        self.random = random.Random(0)  # of the election timeouts alone
        self.states: dict[int, bytes] = {}
        self.invariants = Invariants(self.sites, committed=START)
        for number in range(1, voters + learners + spares + 1):
            storage = MemoryStorage()
            if number <= voters + learners:
                storage.apply_snapshot(first)
                storage.set_hard_state(HardState(term=1, commit=START))
            self.sites[number] = Site(number, storage)
            self.restart(number)

    # Machines

    def restart(self, number: int) -> None:
        site = self.sites[number]
        if site.raw is not None:
            return
        snapshot = site.storage.snapshot()
        self._load(site, snapshot)
        config = RaftConfig(
            id=number,
            storage=site.storage,
            random_below=self.random.randrange,
            applied=snapshot.metadata.index,
            observer=self.invariants,
            **self.options,
        )
        site.raw = RawNode(config)
        self.invariants.check()

    def crash(self, number: int) -> None:
        site = self.sites[number]
        site.raw = None
        site.appends.clear()
        site.applies.clear()

    def _load(self, site: Site, snapshot: Snapshot) -> None:
        site.applied = snapshot.metadata.index
        site.state = snapshot.data
        site.conf_state = snapshot.metadata.conf_state
        self.invariants.restored(site.number, site.applied)
        self._agree(site)

    def _agree(self, site: Site) -> None:
        assert self.states.setdefault(site.applied, site.state) == site.state, f"two states at {site.applied}"

    def compact(self, number: int, keep: int) -> None:
        """The site takes a snapshot, and drops its log but for `keep` entries."""
        site = self.sites[number]
        storage = site.storage
        if site.raw is None or site.applied <= storage.snapshot().metadata.index:
            return
        if site.applied > storage.last_index():  # applied ahead of its own disk
            return
        storage.create_snapshot(site.applied, site.conf_state, site.state)
        if (index := site.applied - keep) >= storage.first_index():
            storage.compact(index)
        self.invariants.check()

    # The driver's part

    def process(self, number: int, *, crash_before: bool = False, crash_after: bool = False) -> None:
        """Takes a batch; it may crash before anything of it is on disk, or right after."""
        site = self.sites[number]
        if site.raw is None or not site.raw.has_ready():
            return
        ready = site.raw.ready()
        if crash_before:
            self.crash(number)
            return
        for state in ready.read_states:
            self.invariants.read_answered(number, state)
        if not self.options["async_storage_writes"]:
            self._persist(site, ready.hard_state, ready.entries, ready.snapshot)
            if crash_after:
                self.crash(number)
                return
            self._send(ready.messages)
            self._apply(site, ready.committed_entries)
            site.raw.advance()
        else:
            for message in ready.messages:
                {APPEND_THREAD: site.appends, APPLY_THREAD: site.applies}.get(message.to, self.network).append(message)
                if message.to not in (APPEND_THREAD, APPLY_THREAD):
                    self.invariants.sent(message)
        self.invariants.check()

    def append_thread(self, number: int, *, crash_after: bool = False) -> None:
        site = self.sites[number]
        if site.raw is None or not site.appends:
            return
        message = site.appends.popleft()
        hard_state = HardState(term=message.term, vote=message.vote, commit=message.commit)
        snapshot = message.snapshot if message.HasField("snapshot") else None
        self._persist(site, hard_state if hard_state != HardState() else None, list(message.entries), snapshot)
        if crash_after:
            self.crash(number)
        else:
            self._send(list(message.responses))
        self.invariants.check()

    def apply_thread(self, number: int) -> None:
        site = self.sites[number]
        if site.raw is None or not site.applies:
            return
        message = site.applies.popleft()
        self._apply(site, list(message.entries))
        self._send(list(message.responses))
        self.invariants.check()

    def _persist(
        self, site: Site, hard_state: HardState | None, entries: list[Entry], snapshot: Snapshot | None
    ) -> None:
        if hard_state is not None:
            site.storage.set_hard_state(hard_state)
        if snapshot is not None:
            site.storage.apply_snapshot(snapshot)
            self._load(site, site.storage.snapshot())
        site.storage.append(entries)

    def _apply(self, site: Site, entries: list[Entry]) -> None:
        assert site.raw is not None
        for entry in entries:
            self.invariants.applied(site.number, entry)
            if entry.type != EntryType.ENTRY_NORMAL:
                v1 = entry.type == EntryType.ENTRY_CONF_CHANGE
                change = ConfChange.FromString(entry.data) if v1 else ConfChangeV2.FromString(entry.data)
                site.conf_state = site.raw.apply_conf_change(change)
            digest = hashlib.sha256(site.state + entry.SerializeToString(deterministic=True))
            digest.update(site.conf_state.SerializeToString(deterministic=True))
            site.state = digest.digest()
            site.applied = entry.index
            self._agree(site)

    def _send(self, messages: list[Message]) -> None:
        """A member's own storage is as reliable as the member."""
        for message in messages:
            if message.sender in (APPEND_THREAD, APPLY_THREAD) or message.sender == message.to:
                self._hand(message)
            else:
                self.invariants.sent(message)
                self.network.append(message)
        del self.network[:-MESSAGES_MAX]

    # The network

    def deliver(self, position: int, *, keep: bool = False) -> None:
        """Hands over the message at the position; keeping it there, it comes again."""
        if self.network:
            position %= len(self.network)
            message = self.network[position] if keep else self.network.pop(position)
            self._hand(message)

    def deliver_all(self, number: int) -> None:
        """Hands over what is on its way to the site, in order."""
        chosen = [message for message in self.network if message.to == number]
        self.network = [message for message in self.network if message.to != number]
        for message in chosen:
            self._hand(message)

    def drop(self, position: int) -> None:
        if self.network:
            self.network.pop(position % len(self.network))

    def isolate(self, number: int) -> None:
        """Drops all that is on its way to or from the site."""
        self.network = [message for message in self.network if number not in (message.to, message.sender)]

    def _hand(self, message: Message) -> None:
        raw = self.sites[message.to].raw
        if raw is None:
            return
        copy = Message()
        copy.CopyFrom(message)
        try:
            raw.step(copy)
        except (ProposalDroppedError, UnknownPeerError):
            pass
        self.invariants.check()

    # Clients and operators

    def tick(self, number: int, ticks: int) -> None:
        for _ in range(ticks):
            if (raw := self.sites[number].raw) is not None:
                raw.tick()
                self.invariants.check()

    def propose(self, number: int) -> None:
        self.proposals += 1
        if (raw := self.sites[number].raw) is not None:
            try:
                raw.propose(b"command %d" % self.proposals)
            except ProposalDroppedError:
                pass
            self.invariants.check()

    def change(self, number: int, changes: list[tuple[int, int]], transition: int) -> None:
        """Proposes a change of the configuration: pairs of a type and a site, none of them to leave a joint one."""
        if (raw := self.sites[number].raw) is None:
            return
        singles = [ConfChangeSingle(type=kind, node_id=target) for kind, target in changes]  # type: ignore[arg-type]
        change = ConfChangeV2(transition=transition if singles else 0, changes=singles)  # type: ignore[arg-type]
        try:
            raw.propose_conf_change(change)
        except ProposalDroppedError:
            pass
        self.invariants.check()

    def read(self, number: int) -> None:
        if (raw := self.sites[number].raw) is not None:
            self.reads += 1
            context = b"read %d" % self.reads
            self.invariants.read_asked(context)
            raw.read_index(context)

    def operate(self, number: int, what: str, other: int) -> None:
        """campaign, forget_leader, transfer_leader, report_unreachable, or report_snapshot."""
        if (raw := self.sites[number].raw) is None:
            return
        if what == "report_snapshot":
            raw.report_snapshot(other, delivered=self.random.random() < 0.5)
        elif what in ("transfer_leader", "report_unreachable"):
            getattr(raw, what)(other)
        else:
            getattr(raw, what)()
        self.invariants.check()

    # In the end

    def recover(self, rounds_max: int = 400) -> None:
        """With everything up and every message delivered, the cluster commits again."""
        self.network.clear()
        for number in self.sites:
            self.restart(number)
        goal = 0
        for round_ in range(rounds_max):
            for number, site in self.sites.items():
                self.tick(number, 1)
                self.settle(number)
                self._report_snapshots(site)
            if round_ % 20 == 19:  # again: a proposal may be lost with its leader
                goal = self._propose_to_leader() or goal
            if goal and self._reached(goal):
                return
        raise AssertionError(f"nothing was committed in {rounds_max} rounds of a healthy network")

    def _propose_to_leader(self) -> int:
        """The last index of the newest leader's log after one more proposal; 0 without a leader."""
        leaders = [site.raft for site in self.sites.values() if site.raft and site.raft.role is Role.LEADER]
        if not leaders:
            return 0
        leader = max(leaders, key=lambda raft: raft.term)
        self.propose(leader.id)
        return leader.log.last_index()

    def settle(self, number: int) -> None:
        self.deliver_all(number)
        for _ in range(4):
            self.process(number)
            self.append_thread(number)
            self.apply_thread(number)

    def _report_snapshots(self, site: Site) -> None:
        """A member that waits for a snapshot gets the latest: an old one may be from before it was a member."""
        if site.raft is not None and site.raft.role is Role.LEADER:
            for member, progress in site.raft.tracker:
                if progress.state is ProgressState.SNAPSHOT and site.raw is not None:
                    self.compact(site.number, 0)
                    site.raw.report_snapshot(member, delivered=False)

    def _reached(self, goal: int) -> bool:
        """All voters and learners of the latest configuration have applied it."""
        latest = max(self.sites.values(), key=lambda site: site.applied)
        members = [*latest.conf_state.voters, *latest.conf_state.learners]
        return all(self.sites[member].applied >= goal for member in members)


OPTIONS: dict[str, Any] = {
    "election_ticks": 5,
    "heartbeat_ticks": 1,
    "async_storage_writes": False,
    "pre_vote": False,
    "check_quorum": False,
    "message_bytes_max": 60,
    "inflight_messages_max": 3,
    "uncommitted_bytes_max": 400,
    "step_down_on_removal": True,
}
TRANSITIONS = ConfChangeTransition.values()
OPERATIONS = ["campaign", "transfer_leader", "forget_leader", "report_unreachable", "report_snapshot"]


def disturb(world: World, draw: random.Random, steps: int) -> None:
    """Runs so many random steps: time, clients, operators, crashes, a bad network, and now and then a good one."""
    everyone = list(world.sites)

    def any_site() -> int:
        return draw.choice(everyone)

    def change() -> None:
        changes = [(draw.randrange(4), any_site()) for _ in range(draw.randint(0, 2))]
        world.change(any_site(), changes, draw.choice(TRANSITIONS))

    def process() -> None:
        number, crash = any_site(), draw.randrange(12)
        world.process(number, crash_before=crash == 0, crash_after=crash == 1)
        world.append_thread(number, crash_after=crash == 2)

    def partition() -> None:
        """Some rounds in which a part of the sites is cut off, while clients go on everywhere."""
        away = draw.sample(everyone, draw.randint(0, len(everyone) // 2))
        for _ in range(draw.randint(1, 12)):
            for number in draw.sample(everyone, len(everyone)):
                world.tick(number, 1)
                if draw.random() < 0.2:
                    world.propose(number)
                if draw.random() < 0.1:
                    world.read(number)
                if number in away:
                    world.isolate(number)
                world.settle(number)

    choices: list[tuple[int, Callable[[], None]]] = [
        (3, lambda: world.tick(any_site(), draw.choice([1, 1, 2, 5]))),
        (2, lambda: world.propose(any_site())),
        (1, change),
        (2, lambda: world.read(any_site())),
        (1, lambda: world.operate(any_site(), draw.choice(OPERATIONS), any_site())),
        (2, process),
        (1, lambda: world.apply_thread(any_site())),
        (6, lambda: world.deliver(draw.randrange(64), keep=draw.random() < 0.3)),
        (1, lambda: world.drop(draw.randrange(64))),
        (4, partition),
        (1, lambda: world.crash(any_site())),
        (1, lambda: world.restart(any_site())),
        (1, lambda: world.compact(any_site(), draw.randrange(3))),
    ]
    weights = [weight for weight, _ in choices]
    for _, step in draw.choices(choices, weights, k=steps):
        step()
