"""A cluster of cores driven by hand: every batch, message and storage write waits until a script asks for it.

Its output is that of etcd-io/raft's interaction tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rube.api.errors import FailedPreconditionError, RubeError
from rube.raft.config import APPEND_THREAD, APPLY_THREAD, RaftConfig
from rube.raft.describe import describe_message, describe_ready
from rube.raft.entries import NO_LIMIT
from rube.raft.errors import LocalMessageError, ProposalDroppedError, UnknownPeerError
from rube.raft.raft_pb2 import ConfChangeV2, HardState, Message, MessageType, Snapshot
from rube.raft.script.node import HistoryStorage, Node
from rube.raft.script.output import Output
from rube.raft.state import Raft
from rube.raft.trace import Observer, Step

# No limits, and no option that a script does not set. The election timeouts are as long as possible, so that no member
# campaigns within the ticks of one election timeout.
_DEFAULTS: Mapping[str, Any] = {
    "random_below": lambda bound: bound - 1,
    "election_ticks": 3,
    "heartbeat_ticks": 1,
    "message_bytes_max": NO_LIMIT,
    "inflight_messages_max": 2**31 - 1,
    "check_quorum": False,
    "pre_vote": False,
    "step_down_on_removal": False,
}

ROUNDS_MAX = 1000
"""Rounds of `stabilize`. A hundred are many."""

_ROLES = {
    Step.BECOME_FOLLOWER: "follower",
    Step.BECOME_PRE_CANDIDATE: "pre-candidate",
    Step.BECOME_CANDIDATE: "candidate",
    Step.BECOME_LEADER: "leader",
}

# The core's errors, in the words of etcd's transcripts.
_ETCD_WORDS: dict[type[RubeError], str] = {
    ProposalDroppedError: "raft proposal dropped",
    UnknownPeerError: "raft: cannot step as peer not found",
    LocalMessageError: "raft: cannot step raft local message",
}


def error_text(error: RubeError) -> str:
    """Returns the error as scripts expect it."""
    return _ETCD_WORDS.get(type(error), error.message)


@dataclass(frozen=True, slots=True)
class Recipient:
    """The member whose messages are delivered, or dropped."""

    id: int
    drop: bool = False

    def takes(self, message: Message, message_type: int | None) -> bool:
        """Returns whether the message is for it, and of that type. A member's messages to itself cannot be dropped."""
        local = message.sender in (message.to, APPEND_THREAD, APPLY_THREAD)
        return message.to == self.id and message_type in (None, message.type) and not (self.drop and local)


class Cluster:
    """The members, numbered from 1, and the messages between them, oldest first.

    Methods print to `output`, and raise the RubeError with which a core or a storage refuses.
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        """The observers see every core's steps."""
        self.nodes: list[Node] = []
        self.messages: list[Message] = []
        self.output = Output()
        self._observers = tuple(observers)

    def node(self, member: int) -> Node:
        """Returns the member, which must exist."""
        return self.nodes[member - 1]

    def add_node(self, snapshot: Snapshot, options: Mapping[str, Any]) -> None:
        """Adds the member with the next id, started from the snapshot; the options are fields of RaftConfig."""
        storage = HistoryStorage(snapshot)
        fields = {**_DEFAULTS, **options, "id": len(self.nodes) + 1, "storage": storage, "observer": self._observe}
        self.nodes.append(Node(RaftConfig(**fields), storage))

    def deliver(self, recipients: Iterable[Recipient], message_type: int | None = None) -> int:
        """Delivers or drops the messages that are there now; returns their number."""
        count = 0
        for recipient in recipients:
            chosen = [message for message in self.messages if recipient.takes(message, message_type)]
            self.messages = [message for message in self.messages if not recipient.takes(message, message_type)]
            count += len(chosen)
            for message in chosen:
                self.output.line(("dropped: " if recipient.drop else "") + describe_message(message))
                if not recipient.drop:
                    self._step(message)
        return count

    def _step(self, message: Message) -> None:
        try:
            self.node(message.to).raw.step(message)
        except RubeError as error:
            self.output.line(error_text(error))

    def send_snapshot(self, sender: int, to: int) -> None:
        """Queues the sender's latest state for `to`."""
        node = self.node(sender)
        snapshot = node.storage.snapshot()
        message = Message(type=MessageType.MSG_SNAP, sender=sender, to=to, term=node.raw.raft.term, snapshot=snapshot)
        self.messages.append(message)
        self.output.write(describe_message(message))

    def process_ready(self, member: int) -> None:
        """Takes the member's next batch and carries it out; with asynchronous writes, leaves it to the threads."""
        node = self.node(member)
        ready = node.raw.ready()
        self.output.write(describe_ready(ready))
        asynchronous = node.config.async_storage_writes
        if not asynchronous:
            node.storage.persist(ready.hard_state, ready.entries, ready.snapshot)
            node.apply(ready.committed_entries)
        for message in ready.messages:
            {APPEND_THREAD: node.append_work, APPLY_THREAD: node.apply_work}.get(message.to, self.messages).append(
                message
            )
        if not asynchronous:
            node.raw.advance()

    def process_append_thread(self, member: int) -> None:
        """Carries out the member's oldest storage write."""
        node = self.node(member)
        if not node.append_work:
            self.output.write("no append work to perform")
            return
        with self._processing(node.append_work.popleft()) as message:
            hard_state = HardState(term=message.term, vote=message.vote, commit=message.commit)
            node.storage.persist(hard_state, message.entries, message.snapshot)

    def process_apply_thread(self, member: int) -> None:
        """Applies the member's oldest batch of committed entries."""
        node = self.node(member)
        if not node.apply_work:
            self.output.write("no apply work to perform")
            return
        with self._processing(node.apply_work.popleft()) as message:
            node.apply(message.entries)

    @contextmanager
    def _processing(self, work: Message) -> Iterator[Message]:
        responses = list(work.responses)
        del work.responses[:]
        self.output.line(f"Processing:\n{describe_message(work)}")
        yield work
        self.output.line("\n".join(["Responses:", *map(describe_message, responses)]))
        self.messages += responses

    def stabilize(self, members: Iterable[int]) -> None:
        """Handles batches, messages and storage work of these members in turn, until there is nothing left to do.

        Raises FailedPreconditionError after ROUNDS_MAX rounds.
        """
        members = list(members)
        stages = (self._some_ready, self._some_messages, self._some_appends, self._some_applies)
        for _ in range(ROUNDS_MAX):
            if not sum(stage(member) for stage in stages for member in members):
                return
        raise FailedPreconditionError(f"not stable after {ROUNDS_MAX} rounds: do messages go round in circles?")

    def _some_ready(self, member: int) -> bool:
        if not self.node(member).raw.has_ready():
            return False
        self.output.line(f"> {member} handling Ready")
        with self.output.indented():
            self.process_ready(member)
        return True

    def _some_messages(self, member: int) -> bool:
        if not any(message.to == member for message in self.messages):
            return False
        self.output.line(f"> {member} receiving messages")
        with self.output.indented():
            self.deliver([Recipient(member)])
        return True

    def _some_appends(self, member: int) -> bool:
        if not self.node(member).append_work:
            return False
        self.output.line(f"> {member} processing append thread")
        while self.node(member).append_work:
            with self.output.indented():
                self.process_append_thread(member)
        return True

    def _some_applies(self, member: int) -> bool:
        if not self.node(member).apply_work:
            return False
        self.output.line(f"> {member} processing apply thread")
        while self.node(member).apply_work:
            with self.output.indented():
                self.process_apply_thread(member)
        return True

    def _observe(
        self,
        raft: Raft,
        step: Step,
        /,
        *,
        message: Message | None = None,
        change: ConfChangeV2 | None = None,
        text: str = "",
    ) -> None:
        if step is Step.NOTE:
            self.output.note(f"{raft.id:x} {text}")
        elif step in _ROLES:
            self.output.note(f"{raft.id:x} became {_ROLES[step]} at term {raft.term}")
        for observer in self._observers:
            observer(raft, step, message=message, change=change, text=text)
