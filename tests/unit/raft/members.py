"""Members of a cluster in one process: each with its storage, and the messages between them carried by hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from rube.raft import NO_LIMIT, MemoryStorage, RaftConfig, RawNode, Ready, Role
from rube.raft.errors import UnknownPeerError
from rube.raft.membership import from_entry
from rube.raft.raft_pb2 import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_PRE_VOTE_RESP,
    MSG_VOTE_RESP,
    ConfState,
    Entry,
    HardState,
    Message,
    Snapshot,
    SnapshotMetadata,
)

_PLAIN: dict[str, Any] = {
    "election_ticks": 10,
    "check_quorum": False,
    "pre_vote": False,
    "step_down_on_removal": False,
    "message_bytes_max": NO_LIMIT,
}


def log(*terms: int, first: int = 1) -> list[Entry]:
    """Entries of these terms, one after the other."""
    return [Entry(term=term, index=index) for index, term in enumerate(terms, start=first)]


def ids(entries: Iterable[Entry]) -> list[tuple[int, int]]:
    """(term, index) of each."""
    return [(entry.term, entry.index) for entry in entries]


def snapshot(index: int, term: int, voters: Iterable[int] = (1, 2, 3), **conf: Any) -> Snapshot:
    """A snapshot at that entry, of a cluster with these voters."""
    state = ConfState(voters=voters, **conf)
    return Snapshot(data=b"state", metadata=SnapshotMetadata(index=index, term=term, conf_state=state))


class CurrentStorage(MemoryStorage):
    """Gives a snapshot of what is applied, as a state machine that can be read at any time does."""

    def __init__(self, conf_state: ConfState) -> None:
        super().__init__(conf_state)
        self.applied = 0
        self.conf_state = conf_state

    def snapshot(self) -> Snapshot:
        if self.applied > super().snapshot().metadata.index:
            self.create_snapshot(self.applied, self.conf_state, b"state")
        return super().snapshot()


class Member:
    """A core and its synchronous storage; nothing optional is on unless asked for."""

    def __init__(
        self,
        id: int = 1,
        voters: Iterable[int] = (1, 2, 3),
        *,
        learners: Iterable[int] = (),
        terms: Iterable[int] = (),
        hard_state: HardState | None = None,
        start: Snapshot | None = None,
        **config: Any,
    ) -> None:
        """A member with a log of entries of these terms, behind the snapshot it starts from."""
        self.id = id
        self.storage = CurrentStorage(ConfState(voters=voters, learners=learners))
        if start is not None:
            self.storage.apply_snapshot(start)
        self.storage.append(log(*terms, first=self.storage.last_index() + 1))
        if hard_state is not None:
            self.storage.set_hard_state(hard_state)
        self.options = {**_PLAIN, "random_below": random.Random(id).randrange, **config}
        self.applied: list[Entry] = []
        self.reads: list[tuple[int, bytes]] = []
        self.start()

    def start(self, applied: int = 0) -> None:
        """Starts, or starts again after a crash: only the storage is left."""
        self.node = RawNode(RaftConfig(id=self.id, storage=self.storage, applied=applied, **self.options))
        self.raft = self.node.raft

    @property
    def role(self) -> Role:
        return self.raft.role

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.node.tick()

    def step(self, kind: Any, sender: int = 2, *, term: int | None = None, **fields: Any) -> None:
        """A message arrives, by default of this member's own term."""
        term = self.raft.term if term is None else term
        self.node.step(Message(type=kind, sender=sender, to=self.id, term=term, **fields))
        self.raft.check()

    def handle(self) -> Ready:
        """One batch, carried out but for its messages."""
        ready = self.node.ready()
        if ready.snapshot is not None:
            self.storage.apply_snapshot(ready.snapshot)
            self.storage.conf_state = ready.snapshot.metadata.conf_state
        self.storage.append(ready.entries)
        if ready.hard_state is not None:
            self.storage.set_hard_state(ready.hard_state)
        for entry in ready.committed_entries:
            change = from_entry(entry)
            if change is not None:
                self.storage.conf_state = self.node.apply_conf_change(change)
            self.storage.applied = entry.index
        self.applied += ready.committed_entries
        self.reads += [(read.index, read.context) for read in ready.read_states]
        self.node.advance()
        self.raft.check()
        return ready

    def drain(self) -> list[Message]:
        """Batches until there is none; what they send."""
        messages: list[Message] = []
        while self.node.has_ready():
            messages += self.handle().messages
        return messages

    def campaign(self) -> list[Message]:
        """Calls an election; its requests."""
        self.node.campaign()
        return self.drain()

    def lead(self) -> None:
        """Is elected by everyone, who also take its first entry."""
        self.campaign()
        others = [voter for voter in self.raft.tracker.voter_ids() if voter != self.id]
        for kind in (MSG_PRE_VOTE_RESP, MSG_VOTE_RESP):
            for other in others:
                if self.role is not Role.LEADER:
                    term = self.raft.term + (kind == MSG_PRE_VOTE_RESP)
                    self.step(kind, other, term=term)
            self.drain()
        for other in others:
            self.step(MSG_APP_RESP, other, index=self.raft.log.last_index())
        self.drain()
        assert self.role is Role.LEADER

    def log_terms(self) -> list[int]:
        """The terms of the whole log."""
        return [entry.term for entry in self.raft.log.entries(self.raft.log.first_index(), NO_LIMIT)]

    def compact(self, index: int) -> None:
        """Drops the log up to there, which is applied."""
        self.storage.snapshot()
        self.storage.compact(index)


def accept(message: Message) -> Message:
    """The answer of a follower that takes the append."""
    assert message.type == MSG_APP
    index = message.index + len(message.entries)
    return Message(type=MSG_APP_RESP, sender=message.to, to=message.sender, term=message.term, index=index)


class Net:
    """Members that hear each other, but for what `loses` says."""

    def __init__(self, *members: Member) -> None:
        self.members = {member.id: member for member in members}
        self.loses: Callable[[Message], bool] = lambda message: False

    def __getitem__(self, id: int) -> Member:
        return self.members[id]

    def isolate(self, *cut_off: int) -> None:
        """These members are cut off from all others, both ways."""
        self.loses = lambda message: message.to in cut_off or message.sender in cut_off

    def heal(self) -> None:
        self.loses = lambda message: False

    def run(self, rounds_max: int = 1000) -> None:
        """Carries messages until there are none."""
        for _ in range(rounds_max):
            sent = [message for _, member in sorted(self.members.items()) for message in member.drain()]
            if not sent:
                return
            for message in sent:
                if message.to in self.members and not self.loses(message):
                    self._deliver(message)
        raise AssertionError(f"the members still talk after {rounds_max} rounds")

    def _deliver(self, message: Message) -> None:
        copy = Message.FromString(message.SerializeToString())
        try:
            self.members[message.to].node.step(copy)
            self.members[message.to].raft.check()
        except UnknownPeerError:
            pass

    def elect(self, id: int) -> None:
        """The member calls an election; everyone talks."""
        self[id].node.campaign()
        self.run()

    def leaders(self) -> list[int]:
        return [id for id, member in sorted(self.members.items()) if member.role is Role.LEADER]


def cluster(size: int = 3, **config: Any) -> Net:
    """A cluster of voters, numbered from 1."""
    voters = range(1, size + 1)
    return Net(*(Member(id, voters, **config) for id in voters))
