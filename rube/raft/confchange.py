"""Changes of the configuration, checked before they take effect (paper section 6, dissertation section 4).

One voter at a time is a simple change; more than one goes through a joint configuration. Every operation works on a
copy, which the caller installs; after a ConfChangeError nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rube.api.errors import FailedPreconditionError
from rube.raft.inflights import Inflights
from rube.raft.progress import Progress
from rube.raft.quorum import JointConfig, MajorityConfig
from rube.raft.raft_pb2 import ConfChangeSingle, ConfChangeType, ConfState
from rube.raft.tracker import Config, ProgressTracker

ProgressMap = dict[int, Progress]
Changed = tuple[Config, ProgressMap]


class ConfChangeError(FailedPreconditionError):
    """The change does not fit the configuration; the message says how. The words are etcd's, for its scripts."""

    reason = "RAFT_CONF_CHANGE"


class Changer:
    """Computes the configuration and progress that follow `tracker`'s; never alters `tracker`.

    `last_index` is the last index of the log: a new member is probed from there.
    """

    def __init__(self, tracker: ProgressTracker, last_index: int) -> None:
        self.tracker = tracker
        self.last_index = last_index

    def simple(self, changes: Sequence[ConfChangeSingle]) -> Changed:
        """Applies changes that together add or remove at most one voter (dissertation section 4.1)."""
        draft = self._draft()
        if draft.outgoing:
            raise ConfChangeError("can't apply simple config change in joint config")
        before = set(draft.incoming)
        draft.apply(changes)
        if len(before ^ draft.incoming) > 1:
            raise ConfChangeError("more than one voter changed without entering joint config")
        return draft.checked()

    def enter_joint(self, changes: Sequence[ConfChangeSingle], *, auto_leave: bool) -> Changed:
        """Keeps today's voters as the outgoing half and applies the changes to the incoming one (C_old,new)."""
        draft = self._draft()
        if draft.outgoing:
            raise ConfChangeError("config is already joint")
        if not draft.incoming:
            raise ConfChangeError("can't make a zero-voter config joint")
        draft.outgoing = set(draft.incoming)
        draft.apply(changes)
        draft.auto_leave = auto_leave
        return draft.checked()

    def leave_joint(self) -> Changed:
        """Drops the outgoing half (C_new); members in `learners_next` become learners."""
        draft = self._draft()
        if not draft.outgoing:
            raise ConfChangeError("can't leave a non-joint config")
        for member in draft.learners_next:
            draft.learners.add(member)
            draft.progress[member].is_learner = True
        for member in draft.outgoing - draft.incoming - draft.learners:
            del draft.progress[member]
        draft.learners_next = set()
        draft.outgoing = set()
        draft.auto_leave = False
        return draft.checked()

    def restore(self, conf_state: ConfState) -> Changed:
        """Builds the configuration that `conf_state` names from an empty tracker, through legal changes only."""
        tracker = ProgressTracker(
            inflight_messages_max=self.tracker.inflight_messages_max,
            inflight_bytes_max=self.tracker.inflight_bytes_max,
            config=self.tracker.config,
            progress=self.tracker.progress,
        )
        step = Changer(tracker, self.last_index)
        outgoing = [_add(member) for member in conf_state.voters_outgoing]
        incoming = [_remove(member) for member in conf_state.voters_outgoing]
        incoming += [_add(member) for member in conf_state.voters]
        incoming += [_add_learner(member) for member in conf_state.learners]
        # These vote in the outgoing half, so `enter_joint` puts them into learners_next.
        incoming += [_add_learner(member) for member in conf_state.learners_next]
        for change in outgoing or incoming:
            tracker.config, tracker.progress = step.simple([change])
        if outgoing:
            tracker.config, tracker.progress = step.enter_joint(incoming, auto_leave=conf_state.auto_leave)
        return tracker.config, tracker.progress

    def _draft(self) -> _Draft:
        draft = _Draft(self.tracker, self.last_index)
        draft.checked()
        return draft


class _Draft:
    """A configuration in the making. Changes of voters touch the incoming half alone."""

    def __init__(self, tracker: ProgressTracker, last_index: int) -> None:
        config = tracker.config
        self.incoming = set(config.voters.incoming)
        self.outgoing = set(config.voters.outgoing)
        self.learners = set(config.learners)
        self.learners_next = set(config.learners_next)
        self.auto_leave = config.auto_leave
        self.progress = {member: progress.copy() for member, progress in tracker.progress.items()}
        self._tracker = tracker
        self._last_index = last_index

    def apply(self, changes: Iterable[ConfChangeSingle]) -> None:
        operations: dict[int, Callable[[int], None]] = {
            ConfChangeType.CONF_CHANGE_ADD_NODE: self._make_voter,
            ConfChangeType.CONF_CHANGE_ADD_LEARNER_NODE: self._make_learner,
            ConfChangeType.CONF_CHANGE_REMOVE_NODE: self._remove,
            ConfChangeType.CONF_CHANGE_UPDATE_NODE: lambda _: None,
        }
        for change in changes:
            if change.type not in operations:
                raise ConfChangeError(f"unexpected conf type {change.type}")
            if change.node_id:  # an application sets 0 in a change that it refuses to apply
                operations[change.type](change.node_id)
        if not self.incoming:
            raise ConfChangeError("removed all voters")

    def _make_voter(self, member: int) -> None:
        """Adds the member, or promotes it."""
        if member not in self.progress:
            self._add(member, is_learner=False)
        self.progress[member].is_learner = False
        self.learners.discard(member)
        self.learners_next.discard(member)
        self.incoming.add(member)

    def _make_learner(self, member: int) -> None:
        """Adds the member, or demotes it: at once, or, if it still votes in the outgoing half, when that half is
        left."""
        if member not in self.progress:
            self._add(member, is_learner=True)
            self.learners.add(member)
            return
        progress = self.progress[member]
        if progress.is_learner:
            return
        self._remove(member)
        self.progress[member] = progress
        if member in self.outgoing:
            self.learners_next.add(member)
        else:
            progress.is_learner = True
            self.learners.add(member)

    def _remove(self, member: int) -> None:
        """Removes the member; its progress stays while it votes in the outgoing half."""
        self.incoming.discard(member)
        self.learners.discard(member)
        self.learners_next.discard(member)
        if member not in self.outgoing:
            self.progress.pop(member, None)

    def _add(self, member: int, *, is_learner: bool) -> None:
        """Adds a progress that is probed from the end of the log. It counts as active, so that it has time to
        answer."""
        self.progress[member] = Progress(
            next=max(self._last_index, 1),
            inflights=Inflights(self._tracker.inflight_messages_max, self._tracker.inflight_bytes_max),
            is_learner=is_learner,
            recent_active=True,
        )

    def checked(self) -> Changed:
        """Returns the result after asserting its invariants; a broken one is a mistake of this code, not of the
        caller."""
        for member in self.incoming | self.outgoing | self.learners | self.learners_next:
            assert member in self.progress, f"no progress for {member}"
        for member in self.learners_next:
            assert member in self.outgoing, f"{member} is in learners_next, but is no outgoing voter"
            assert not self.progress[member].is_learner, f"{member} is in learners_next, but marked as learner"
        for member in self.learners:
            assert member not in self.outgoing | self.incoming, f"{member} is learner and voter"
            assert self.progress[member].is_learner, f"{member} is a learner, but not marked as one"
        if not self.outgoing:
            assert not self.learners_next, "learners_next without a joint configuration"
            assert not self.auto_leave, "auto_leave without a joint configuration"
        config = Config(
            voters=JointConfig(MajorityConfig(self.incoming), MajorityConfig(self.outgoing)),
            auto_leave=self.auto_leave,
            learners=MajorityConfig(self.learners),
            learners_next=MajorityConfig(self.learners_next),
        )
        return config, self.progress


def _add(member: int) -> ConfChangeSingle:
    return ConfChangeSingle(type=ConfChangeType.CONF_CHANGE_ADD_NODE, node_id=member)


def _add_learner(member: int) -> ConfChangeSingle:
    return ConfChangeSingle(type=ConfChangeType.CONF_CHANGE_ADD_LEARNER_NODE, node_id=member)


def _remove(member: int) -> ConfChangeSingle:
    return ConfChangeSingle(type=ConfChangeType.CONF_CHANGE_REMOVE_NODE, node_id=member)


_ID_DIGITS_MAX = 19  # so that it fits into 64 bits
_LETTERS = {
    "v": ConfChangeType.CONF_CHANGE_ADD_NODE,
    "l": ConfChangeType.CONF_CHANGE_ADD_LEARNER_NODE,
    "r": ConfChangeType.CONF_CHANGE_REMOVE_NODE,
    "u": ConfChangeType.CONF_CHANGE_UPDATE_NODE,
}


def changes_from_text(text: str) -> list[ConfChangeSingle]:
    """Parses `v1 l2 r3 u4`: make 1 a voter and 2 a learner, remove 3, update 4. Raises ConfChangeError."""
    changes = []
    for word in text.split():
        if word[0] not in _LETTERS:
            raise ConfChangeError(f"unknown input: {word}")
        if not (word[1:].isascii() and word[1:].isdigit() and len(word[1:]) <= _ID_DIGITS_MAX):
            raise ConfChangeError(f"unknown token {word}")
        changes.append(ConfChangeSingle(type=_LETTERS[word[0]], node_id=int(word[1:])))
    return changes
