"""Changes of the configuration, judged by etcd's scripts, and one way to change against another."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.raft.confchange import Changed, Changer, ConfChangeError, changes_from_text
from rube.raft.raft_pb2 import ConfChangeSingle, ConfChangeType, ConfState
from rube.raft.script import Directive
from rube.raft.tracker import ProgressTracker, progress_text
from tests.unit.raft.judges import judge, scripts


class _ConfChangeScript:
    """The commands `simple`, `enter-joint` and `leave-joint`; the last index grows by one with each command."""

    def __init__(self) -> None:
        self.tracker = ProgressTracker(inflight_messages_max=10)
        self.last_index = -1

    def __call__(self, directive: Directive) -> str:
        self.last_index += 1
        try:
            self.tracker.config, self.tracker.progress = self._change(directive)
        except ConfChangeError as error:
            return error.message
        return f"{self.tracker.config}\n{progress_text(self.tracker.progress)}"

    def _change(self, directive: Directive) -> Changed:
        changer = Changer(self.tracker, self.last_index)
        changes = changes_from_text(directive.input)
        if directive.command == "simple":
            return changer.simple(changes)
        if directive.command == "enter-joint":
            return changer.enter_joint(changes, auto_leave=("autoleave", "true") in list(directive.options()))
        assert directive.command == "leave-joint"
        return changer.leave_joint()


@pytest.mark.parametrize("path", scripts("confchange"))
def test_etcd_confchange_scripts(path: Path) -> None:
    judge(path, _ConfChangeScript())


def tracker_of(initial: str = "v1") -> ProgressTracker:
    tracker = ProgressTracker(inflight_messages_max=10)
    for change in changes_from_text(initial):
        tracker.config, tracker.progress = Changer(tracker, 10).simple([change])
    return tracker


changes = st.lists(
    st.builds(ConfChangeSingle, type=st.sampled_from(ConfChangeType.values()), node_id=st.integers(2, 9)),
    min_size=1,
    max_size=9,
)
"""Member 1 is never touched, so that there is always a voter."""


@given(changes, changes)
def test_a_joint_change_ends_where_simple_ones_do(
    initial: list[ConfChangeSingle], then: list[ConfChangeSingle]
) -> None:
    simple, joint = tracker_of(), tracker_of()
    for tracker in (simple, joint):
        for change in initial:
            tracker.config, tracker.progress = Changer(tracker, 10).simple([change])
    for change in then:
        simple.config, simple.progress = Changer(simple, 10).simple([change])
    joint.config, joint.progress = Changer(joint, 10).enter_joint(then, auto_leave=False)
    joint.config, joint.progress = Changer(joint, 10).leave_joint()
    assert str(simple.config) == str(joint.config)
    assert progress_text(simple.progress) == progress_text(joint.progress)


@given(changes, changes, st.booleans(), st.booleans())
def test_restore_gives_the_configuration_of_any_conf_state(
    initial: list[ConfChangeSingle], then: list[ConfChangeSingle], auto_leave: bool, joint: bool
) -> None:
    tracker = tracker_of()
    for change in initial:
        tracker.config, tracker.progress = Changer(tracker, 10).simple([change])
    if joint:
        tracker.config, tracker.progress = Changer(tracker, 10).enter_joint(then, auto_leave=auto_leave)
    restored = ProgressTracker(inflight_messages_max=10)
    restored.config, restored.progress = Changer(restored, 10).restore(tracker.conf_state())
    assert str(restored.config) == str(tracker.config)
    assert restored.conf_state() == tracker.conf_state()


def test_a_refused_change_leaves_thetracker_of_as_it_was() -> None:
    tracker = tracker_of("v1 v2 l3")
    before = (str(tracker.config), progress_text(tracker.progress))
    with pytest.raises(ConfChangeError, match="more than one voter changed"):
        Changer(tracker, 10).simple(changes_from_text("l2 v3"))
    assert (str(tracker.config), progress_text(tracker.progress)) == before


def test_a_change_shares_nothing_that_it_alters() -> None:
    tracker = tracker_of("v1 v2")
    _, progress = Changer(tracker, 10).enter_joint(changes_from_text("l2"), auto_leave=True)
    assert progress[2] is not tracker.progress[2]
    assert not tracker.config.joint()


def test_a_new_member_is_probed_from_the_end_of_the_log() -> None:
    tracker = tracker_of()
    _, progress = Changer(tracker, 17).simple(changes_from_text("v2"))
    assert (progress[2].match, progress[2].next, progress[2].recent_active) == (0, 17, True)


@pytest.mark.parametrize("text", ["x1", "v", "vx", "1v"])
def test_changes_that_are_not_understood_are_named(text: str) -> None:
    with pytest.raises(ConfChangeError, match=text):
        changes_from_text(text)


def test_an_empty_conf_state_restores_nothing() -> None:
    tracker = ProgressTracker(inflight_messages_max=1)
    config, progress = Changer(tracker, 0).restore(ConfState())
    assert (str(config), progress) == ("voters=()", {})
