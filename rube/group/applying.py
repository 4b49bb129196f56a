"""The applied state of a member: the machine's state, the group's members, and the hash over both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rube.group.digests import Digests
from rube.group.group_pb2 import Applied, Command, Identity, MembersChange
from rube.group.machine import NOTHING, StateMachine
from rube.group.roster import OutdatedChangeError, Roster
from rube.host import Write
from rube.raft.membership import from_entry
from rube.raft.raft_pb2 import ConfChangeSingle, ConfChangeV2, ConfState, Entry


class Done(NamedTuple):
    """The result of an entry: the outcome goes to the proposer, the writes make it durable; `members` has the change of
    the members, if any."""

    proposer: int
    number: int
    outcome: Any
    writes: Sequence[Write]
    members: MembersChange | None = None


class AppliedState:
    """Everything that is a function of the log alone, as of `index`.

    Invariants: `index` and `term` never fall; each entry is applied once, in order.
    """

    def __init__(self, applied: Applied, machine: StateMachine, identity: Identity, name: str) -> None:
        """Restores the state that the last process applied; a member without one begins with the peers of its
        identity."""
        self._machine = machine
        self.digests = Digests(name, identity.id)
        # The fields of the message that entries seldom change.
        self._members = Applied()
        self._take(applied, Roster(applied.peers or identity.peers, applied.removed))

    def restore(self, applied: Applied) -> None:
        """Takes the state of a snapshot."""
        self._take(applied, Roster(applied.peers, applied.removed))

    def _take(self, applied: Applied, roster: Roster) -> None:
        self.index, self.term, self.roster = applied.index, applied.term, roster
        self.digests.restart(applied.hash)
        self._configured(applied.conf_state)

    def _configured(self, conf_state: ConfState) -> None:
        self.digests.voters = list(conf_state.voters)
        self._members = Applied(conf_state=conf_state, peers=self.roster.peers, removed=self.roster.removed)

    def to_message(self) -> Applied:
        """Returns what has to be stored with the state's writes."""
        applied = Applied(index=self.index, term=self.term, hash=self.digests.chain)
        applied.MergeFrom(self._members)
        return applied

    def apply(self, entry: Entry, configure: Callable[[ConfChangeV2], ConfState]) -> Done | None:
        """Applies the next entry; None for an empty one. `configure` gets each change of Raft's configuration.

        Raises DataLossError if this member turns out to have another state than its group.
        """
        assert entry.index == self.index + 1, f"entry {entry.index} after {self.index}"
        change = from_entry(entry)
        if change is not None:
            done = self._apply_change(change, configure)
        elif entry.data:
            done = self._apply_command(Command.FromString(entry.data))
        else:
            done = None
        if done is not None:
            self.digests.add(entry.index, done.writes)
        self.index, self.term = entry.index, entry.term
        return done

    def _apply_command(self, command: Command) -> Done:
        outcome, writes = self._machine.apply(command.data) if command.data else NOTHING
        if (command.HasField("expect") or command.forget) and not self._apply_expectation(command):
            outcome = _outdated()
        return Done(command.proposer, command.number, outcome, writes)

    def _apply_expectation(self, command: Command) -> bool:
        """Adds or removes an expected member. Returns False if the roster did not allow it."""
        if command.HasField("expect"):
            changed = self.roster.expect(command.expect)
        else:
            changed = self.roster.forget(command.forget)
        self._configured(self._members.conf_state)
        return changed

    def _apply_change(self, change: ConfChangeV2, configure: Callable[[ConfChangeV2], ConfState]) -> Done:
        context = MembersChange.FromString(change.context)
        fits = self.roster.fits(context)
        if fits:
            self.roster.apply(context)
        else:  # a change of member 0 changes nothing
            change = ConfChangeV2(changes=[ConfChangeSingle(type=single.type) for single in change.changes])
        conf_state = configure(change)
        self.roster.follow(conf_state)
        self._configured(conf_state)
        if not fits:
            return Done(context.proposer, context.number, _outdated(), ())
        return Done(context.proposer, context.number, None, (), context)


def _outdated() -> OutdatedChangeError:
    return OutdatedChangeError("the members have changed meanwhile: read them again, and decide again")
