"""Changes of the configuration in a running cluster (paper section 6, dissertation chapter 4)."""

from __future__ import annotations

import pytest

from rube.raft import ConfChangeError, ConfChangeInvalidError, ProposalDroppedError, Role
from rube.raft.raft_pb2 import (
    CONF_CHANGE_ADD_LEARNER_NODE,
    CONF_CHANGE_ADD_NODE,
    CONF_CHANGE_REMOVE_NODE,
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    MSG_APP,
    MSG_PROP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE_RESP,
    TRANSITION_JOINT_EXPLICIT,
    TRANSITION_JOINT_IMPLICIT,
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeV2,
    Entry,
    HardState,
)
from tests.unit.raft.members import Member, Net, cluster, log, snapshot


def add(member: int) -> ConfChange:
    return ConfChange(type=CONF_CHANGE_ADD_NODE, node_id=member)


def remove(member: int) -> ConfChange:
    return ConfChange(type=CONF_CHANGE_REMOVE_NODE, node_id=member)


def several(
    *changes: ConfChange, transition: ConfChangeTransition.ValueType = ConfChangeTransition.TRANSITION_AUTO
) -> ConfChangeV2:
    singles = [ConfChangeSingle(type=change.type, node_id=change.node_id) for change in changes]
    return ConfChangeV2(changes=singles, transition=transition)


LEARNER_3 = ConfChange(type=CONF_CHANGE_ADD_LEARNER_NODE, node_id=3)


def founded(size: int, **config: bool) -> Net:
    """A cluster as one is founded: with its first configuration in a snapshot, which later members get, too."""
    return cluster(size, start=snapshot(1, 1, range(1, size + 1)), **config)


def configuration(member: Member) -> str:
    return str(member.raft.tracker.config)


def test_a_voter_is_added_and_caught_up() -> None:
    net = founded(2)
    net.elect(1)
    net[1].node.propose(b"a")
    net.run()
    net.members[3] = Member(3, voters=())
    net[1].node.propose_conf_change(add(3))
    net.run()
    assert {configuration(member) for member in net.members.values()} == {"voters=(1 2 3)"}
    assert net[3].raft.log.last_id() == net[1].raft.log.last_id()


def test_a_learner_gets_the_log_but_counts_for_nothing_until_promoted() -> None:
    net = founded(2)
    net.elect(1)
    net.members[3] = Member(3, voters=())
    net[1].node.propose_conf_change(LEARNER_3)
    net.run()
    assert net[3].raft.is_learner
    net.isolate(2)
    net[1].node.propose(b"a")
    net.run()
    assert b"a" not in [entry.data for entry in net[1].applied], "one of two voters is no majority"
    net.heal()
    net[1].tick()
    net.run()
    net[1].node.propose_conf_change(add(3))
    net.run()
    assert not net[3].raft.is_learner
    net.isolate(2)
    net[1].node.propose(b"b")
    net.run()
    assert b"b" in [entry.data for entry in net[1].applied]


def test_removing_a_voter_may_commit_what_waited_for_it() -> None:
    net = founded(2)
    net.elect(1)
    net[1].node.propose_conf_change(remove(2))
    net.loses = lambda message: message.type == MSG_APP and any(entry.data == b"a" for entry in message.entries)
    net[1].node.propose(b"a")
    net.run()
    assert configuration(net[1]) == "voters=(1)"
    assert [entry.data for entry in net[1].applied][-1] == b"a"


def test_only_one_change_may_be_unapplied() -> None:
    member = Member()
    member.lead()
    member.node.propose_conf_change(add(4))
    member.node.propose_conf_change(add(5))
    entries = member.storage.entries(2, 2, 1) + member.handle().entries
    assert [entry.type for entry in entries] == [ENTRY_CONF_CHANGE, ENTRY_NORMAL]
    assert entries[1].data == b""


def test_a_new_leader_waits_until_its_log_is_applied() -> None:
    member = Member(terms=(1,), hard_state=HardState(term=1))
    member.campaign()
    member.step(MSG_VOTE_RESP)
    member.node.propose_conf_change(add(4))
    assert [entry.type for entry in member.handle().entries][-1] == ENTRY_NORMAL


@pytest.mark.parametrize(
    ("joint", "change"),
    [(False, several()), (True, several(add(5)))],
    ids=["nothing-to-leave", "leave-first"],
)
def test_a_change_that_does_not_fit_becomes_an_empty_entry(joint: bool, change: ConfChangeV2) -> None:
    member = Member()
    member.lead()
    if joint:
        member.node.apply_conf_change(several(add(4), transition=TRANSITION_JOINT_EXPLICIT))
        member.drain()
    member.node.propose_conf_change(change)
    assert [entry.type for entry in member.handle().entries] == [ENTRY_NORMAL]


def test_without_validation_the_driver_is_believed_until_it_is_applied() -> None:
    member = Member(conf_change_validation=False)
    member.lead()
    member.node.propose_conf_change(add(4))
    member.node.propose_conf_change(add(5))
    assert [entry.type for entry in member.handle().entries] == [ENTRY_CONF_CHANGE] * 2
    with pytest.raises(ConfChangeError, match="can't leave a non-joint config"):
        member.node.apply_conf_change(several())


def test_a_change_without_sense_is_refused_whoever_sends_it() -> None:
    member = Member()
    member.lead()
    entry = Entry(type=ENTRY_CONF_CHANGE_V2, data=b"\xff\xff")
    with pytest.raises(ConfChangeInvalidError, match="2 bytes are no ConfChange"):
        member.step(MSG_PROP, 2, term=0, entries=[entry])
    assert member.raft.log.last_index() == 1


def test_several_changes_go_through_a_joint_configuration_and_out_of_it() -> None:
    net = founded(3)
    net.elect(1)
    net.members |= {4: Member(4, voters=()), 5: Member(5, voters=())}
    net[1].node.propose_conf_change(several(remove(2), remove(3), add(4), add(5)))
    seen = set()

    def see(_: object) -> bool:
        seen.add(configuration(net[1]))
        return False

    net.loses = see
    net.run()
    assert "voters=(1 4 5)&&(1 2 3) autoleave" in seen
    assert {configuration(net[id]) for id in (1, 4, 5)} == {"voters=(1 4 5)"}
    net[1].node.propose(b"a")
    net.run()
    assert net[5].applied[-1].data == b"a"


def test_a_joint_configuration_is_left_only_when_asked_if_so_proposed() -> None:
    net = founded(3)
    net.elect(1)
    net.members[4] = Member(4, voters=())
    net[1].node.propose_conf_change(several(add(4), transition=TRANSITION_JOINT_EXPLICIT))
    net.run()
    assert configuration(net[1]) == "voters=(1 2 3 4)&&(1 2 3)"
    net[1].node.propose_conf_change(several())
    net.run()
    assert configuration(net[4]) == "voters=(1 2 3 4)"


def test_a_joint_quorum_needs_both_halves() -> None:
    net = founded(3)
    net.elect(1)
    net.members |= {4: Member(4, voters=()), 5: Member(5, voters=())}
    net[1].node.propose_conf_change(several(remove(2), remove(3), add(4), add(5), transition=TRANSITION_JOINT_EXPLICIT))
    net.run()
    for cut_off in ((2, 3), (4, 5)):
        net.isolate(*cut_off)
        net[1].node.propose(b"%d" % cut_off[0])
        net.run()
        assert not any(entry.data == b"%d" % cut_off[0] for entry in net[1].applied)
    net.isolate(2, 4)
    net[1].tick()
    net.run()
    net[1].tick()
    net.run()
    assert {b"2", b"4"} <= {entry.data for entry in net[1].applied}


def test_a_voter_demoted_in_a_joint_configuration_votes_to_its_end() -> None:
    net = founded(3)
    net.elect(1)
    net.members[4] = Member(4, voters=())
    net[1].node.propose_conf_change(several(LEARNER_3, add(4), transition=TRANSITION_JOINT_EXPLICIT))
    net.run()
    assert configuration(net[3]) == "voters=(1 2 4)&&(1 2 3) learners_next=(3)"
    assert not net[3].raft.is_learner
    net[1].node.propose_conf_change(several())
    net.run()
    assert configuration(net[3]) == "voters=(1 2 4) learners=(3)"
    assert net[3].raft.is_learner


def test_leaving_waits_for_a_transfer_that_is_under_way() -> None:
    net = founded(3)
    net.elect(1)
    net.members[4] = Member(4, voters=())
    net[1].node.propose_conf_change(several(add(4), transition=TRANSITION_JOINT_IMPLICIT))
    net[1].node.transfer_leader(3)
    net.loses = lambda message: message.type == MSG_TIMEOUT_NOW
    net.run()
    assert configuration(net[1]).endswith("autoleave")
    net[1].tick(10)
    net[1].node.propose(b"a")
    net.run()
    assert configuration(net[1]) == "voters=(1 2 3 4)"


@pytest.mark.parametrize("steps_down", [False, True])
def test_a_leader_that_removes_itself_steps_down_if_so_configured(steps_down: bool) -> None:
    net = founded(3, step_down_on_removal=steps_down)
    net.elect(1)
    net[1].node.propose_conf_change(remove(1))
    net.run()
    assert net[1].role is (Role.FOLLOWER if steps_down else Role.LEADER)
    with pytest.raises(ProposalDroppedError, match="no leader" if steps_down else "was removed"):
        net[1].node.propose(b"a")
    net[2].node.campaign()
    net.run()
    assert 2 in net.leaders()


def test_a_removed_member_cannot_be_elected() -> None:
    net = founded(3)
    net.elect(1)
    net[1].node.propose_conf_change(remove(3))
    net.run()
    net[3].tick(50)
    net.run()
    assert net.leaders() == [1]


def test_nobody_campaigns_before_a_committed_change_is_applied() -> None:
    change = Entry(type=ENTRY_CONF_CHANGE, term=1, index=2, data=add(4).SerializeToString())
    member = Member(hard_state=HardState(term=1))
    member.step(MSG_APP, entries=[*log(1), change], commit=2)
    ready = member.node.ready()
    member.storage.append(ready.entries)
    member.tick(50)
    assert member.role is Role.FOLLOWER
    member.node.apply_conf_change(add(4))
    member.node.advance()
    member.tick(50)
    assert member.role is Role.CANDIDATE


def test_members_added_just_now_count_as_active_until_the_next_check() -> None:
    net = founded(1, check_quorum=True)
    net.elect(1)
    net[1].tick(9)
    net[1].node.propose_conf_change(add(2))
    net.run()
    net[1].tick()
    assert net.leaders() == [1]


def test_a_restarted_member_has_the_configuration_of_its_snapshot() -> None:
    net = founded(3)
    net.elect(1)
    net[1].node.propose_conf_change(remove(3))
    net.run()
    net[1].compact(3)
    net[1].start(applied=3)
    assert configuration(net[1]) == "voters=(1 2)"


def test_a_member_that_restarts_without_snapshot_applies_the_changes_again() -> None:
    net = founded(1)
    net.elect(1)
    net[1].node.propose_conf_change(LEARNER_3)
    net.run()
    net[1].start()
    net[1].applied.clear()
    net[1].drain()
    assert configuration(net[1]) == "voters=(1) learners=(3)"
