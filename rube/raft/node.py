"""A member as its driver sees it: input through methods, output in batches."""

from __future__ import annotations

from rube.raft import membership, proposals, storage_writes
from rube.raft.config import APPEND_THREAD, APPLY_THREAD, RaftConfig, ReadMode
from rube.raft.election import in_lease
from rube.raft.errors import LocalMessageError, UnknownPeerError
from rube.raft.machine import start, step, tick
from rube.raft.membership import AnyConfChange
from rube.raft.raft_pb2 import (
    MSG_APP_RESP,
    MSG_BEAT,
    MSG_CHECK_QUORUM,
    MSG_FORGET_LEADER,
    MSG_HEARTBEAT_RESP,
    MSG_HUP,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP_STATUS,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY,
    MSG_STORAGE_APPLY_RESP,
    MSG_TRANSFER_LEADER,
    MSG_UNREACHABLE,
    MSG_VOTE_RESP,
    ConfState,
    Entry,
    Message,
    MessageType,
)
from rube.raft.ready import Ready, append_response, collect, states_of
from rube.raft.state import Raft, Role
from rube.raft.status import Status, status_of
from rube.raft.trace import Step

_LOCAL = frozenset(
    {
        MSG_HUP,
        MSG_BEAT,
        MSG_UNREACHABLE,
        MSG_SNAP_STATUS,
        MSG_CHECK_QUORUM,
        MSG_FORGET_LEADER,
        MSG_STORAGE_APPEND,
        MSG_STORAGE_APPEND_RESP,
        MSG_STORAGE_APPLY,
        MSG_STORAGE_APPLY_RESP,
    }
)
_RESPONSES = frozenset(
    {
        MSG_APP_RESP,
        MSG_VOTE_RESP,
        MSG_PRE_VOTE_RESP,
        MSG_HEARTBEAT_RESP,
        MSG_READ_INDEX_RESP,
    }
)
# The known types; a member of a newer version may have more.
_KNOWN = frozenset(MessageType.values())
_STORAGE_RESPONSES = frozenset({MSG_STORAGE_APPEND_RESP, MSG_STORAGE_APPLY_RESP})


class RawNode:
    """One member of a cluster. Not thread-safe; it never blocks, and does nothing by itself.

    The driver calls `tick` at a steady pace and passes in messages and proposals; whenever `has_ready`, it takes a
    batch and handles it as `Ready` describes. A core whose assertion has failed must not be used any more.
    """

    def __init__(self, config: RaftConfig) -> None:
        """Loads the member as its storage has left it."""
        self.config = config
        self.raft: Raft = start(config)
        # The states in the last batch.
        self._told = states_of(self.raft)
        # With synchronous storage: the messages that `advance` steps. None while no batch is out.
        self._on_advance: list[Message] | None = None
        # The entries that `advance` then reports as applied.
        self._applying: list[Entry] = []

    # Time and messages

    def tick(self) -> None:
        """Notes that one tick of the driver's clock has passed."""
        tick(self.raft)

    def step(self, message: Message) -> None:
        """Takes a message from another member, or from the storage; the caller must not change it afterwards.

        Raises LocalMessageError, UnknownPeerError, ProposalDroppedError, ProposalTooLargeError, ConfChangeInvalidError:
        the message had no effect.
        """
        kind, sender = message.type, message.sender
        if sender in (APPEND_THREAD, APPLY_THREAD):
            if kind not in _STORAGE_RESPONSES:
                raise LocalMessageError(f"raft member {self.config.id}: the storage sends no {MessageType.Name(kind)}")
        elif kind in _LOCAL or kind not in _KNOWN:
            name = MessageType.Name(kind) if kind in _LOCAL else f"a message of unknown type {kind}"
            raise LocalMessageError(f"raft member {self.config.id}: {name} from member {sender} is not for the network")
        elif kind in _RESPONSES and sender not in self.raft.tracker.progress:
            raise UnknownPeerError(f"raft member {self.config.id}: {sender} is no member")
        step(self.raft, message)

    # Clients

    def propose(self, *commands: bytes) -> None:
        """Proposes the commands, all or none, as entries one after the other.

        Success means only that the core has taken them: they may still be lost. Raises ProposalDroppedError,
        ProposalTooLargeError.
        """
        self._propose([Entry(data=command) for command in commands])

    def propose_conf_change(self, change: AnyConfChange) -> None:
        """Proposes a change of the configuration; replaced by an empty entry when one is pending.

        Raises ProposalDroppedError.
        """
        self._propose([membership.to_entry(change)])

    def _propose(self, entries: list[Entry]) -> None:
        proposals.check_size(self.raft, entries)
        step(self.raft, Message(type=MSG_PROP, sender=self.config.id, entries=entries))

    def read_index(self, context: bytes) -> None:
        """Asks for a linearizable read. `Ready.read_states` will have the context; if it does not come, ask again."""
        step(self.raft, Message(type=MSG_READ_INDEX, entries=[Entry(data=context)]))

    # Operators

    def campaign(self) -> None:
        """Calls an election now, unless leases serve reads and this member is bound by its leader's."""
        if self.config.read_mode is ReadMode.LEASE_BASED and in_lease(self.raft):
            self.raft.note("does not campaign: its leader's lease may serve reads")
            return
        step(self.raft, Message(type=MSG_HUP, sender=self.config.id))

    def transfer_leader(self, member: int) -> None:
        """Transfers the leadership to the member; if it does not take it within an election timeout, it stays here."""
        step(self.raft, Message(type=MSG_TRANSFER_LEADER, sender=member))

    def forget_leader(self) -> None:
        """Makes a follower go on without a leader in the same term, as if its election timeout had passed for votes."""
        step(self.raft, Message(type=MSG_FORGET_LEADER))

    # The driver

    def report_unreachable(self, member: int) -> None:
        """Reports that the last message to the member was not delivered."""
        step(self.raft, Message(type=MSG_UNREACHABLE, sender=member))

    def report_snapshot(self, member: int, *, delivered: bool) -> None:
        """Reports that the transfer of a MSG_SNAP to the member has ended. Report every one, or appends to it stay
        paused."""
        step(self.raft, Message(type=MSG_SNAP_STATUS, sender=member, reject=not delivered))

    def apply_conf_change(self, change: AnyConfChange) -> ConfState:
        """Puts a committed change into effect, when its entry is applied; returns the configuration to store.

        Raises ConfChangeError, which the checks of proposals rule out.
        """
        return membership.apply_conf_change(self.raft, change)

    def has_ready(self) -> bool:
        """Returns whether there is a batch to take."""
        raft = self.raft
        log = raft.log
        return bool(
            raft.messages
            or raft.messages_after_append
            or raft.read_states
            or states_of(raft) != self._told
            or log.unstable.has_next_entries()
            or log.unstable.next_snapshot() is not None
            or log.has_next_committed(allow_unstable=not self.config.async_storage_writes)
        )

    def ready(self) -> Ready:
        """Returns the next batch. With synchronous storage, `advance` must come before the next one."""
        raft = self.raft
        assert self._on_advance is None, "the last batch was not advanced"
        ready = collect(raft, self._told)
        asynchronous = self.config.async_storage_writes
        if not asynchronous:
            self._on_advance = self._steps_for(ready)
            self._applying = ready.committed_entries
        self._told = states_of(raft)
        raft.messages = []
        raft.messages_after_append = []
        raft.read_states = []
        raft.log.unstable.accept_in_progress()
        if ready.committed_entries:
            raft.log.accept_applying(ready.committed_entries, allow_unstable=not asynchronous)
        raft.observe(Step.READY)
        return ready

    def _steps_for(self, ready: Ready) -> list[Message]:
        """Returns the answers that the storage would give if it were asked by messages."""
        steps = [message for message in self.raft.messages_after_append if message.to == self.config.id]
        appended = append_response(self.raft, ready)
        if appended is not None:
            steps.append(appended)
        return steps

    def advance(self) -> None:
        """Notes that the last batch is persisted and applied; synchronous storage only."""
        assert self._on_advance is not None, "there is no batch to advance, or the storage is asynchronous"
        steps, self._on_advance = self._on_advance, None
        applied, self._applying = self._applying, []
        for message in steps:
            step(self.raft, message)
        if applied:
            storage_writes.applied(self.raft, applied)

    def status(self) -> Status:
        """Returns the member's current status."""
        return status_of(self.raft)

    @property
    def is_leader(self) -> bool:
        """True if this member leads, as far as it knows."""
        return self.raft.role is Role.LEADER
