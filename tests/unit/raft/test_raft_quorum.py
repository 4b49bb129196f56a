"""Quorums, judged by etcd's scripts and by a second way to compute them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.raft.quorum import INDEX_MAX, JointConfig, MajorityConfig, VoteResult
from rube.raft.script import Directive
from tests.unit.raft.judges import judge, scripts

ids = st.frozensets(st.integers(1, 7), max_size=5).map(MajorityConfig)
indexes = st.dictionaries(st.integers(1, 7), st.integers(0, 9))


def index_text(index: int) -> str:
    """The index in decimal; the infinity sign for `INDEX_MAX`."""
    return "∞" if index == INDEX_MAX else str(index)


def _alternative_committed(config: MajorityConfig, acked: dict[int, int]) -> int:
    """The largest acknowledged index that a majority has reached, by counting."""
    if not config:
        return INDEX_MAX
    reached = [i for i in acked.values() if sum(acked.get(v, 0) >= i for v in config) > len(config) // 2]
    return max(reached, default=0)


class _QuorumScript:
    """The commands `committed` and `vote` of etcd's quorum scripts, with its cross-checks."""

    def __call__(self, directive: Directive) -> str:
        self.ids: dict[str, list[int]] = {"cfg": [], "cfgj": []}
        answers: list[int] = []
        joint = False
        for key, value in directive.options():
            if key in self.ids:
                joint |= key == "cfgj"
                if value != "zero":
                    self.ids[key].append(directive.number(value))
            else:
                answers.append({"_": 0, "n": 1, "y": 2}[value] if key == "votes" else int(value.replace("_", "0")))
        incoming, outgoing = MajorityConfig(self.ids["cfg"]), MajorityConfig(self.ids["cfgj"])
        voters = JointConfig(incoming, outgoing)
        if len(voters.ids()) != len(answers):
            listed = " ".join(f"{voter}:{{}}" for voter in voters.ids())
            given = " ".join(map(str, answers))
            return f"error: mismatched input (explicit or _) for voters map[{listed}]: [{given}]"
        members = list(dict.fromkeys(self.ids["cfg"] + self.ids["cfgj"]))
        answered = {member: answer for member, answer in zip(members, answers, strict=True) if answer}
        if directive.command == "vote":
            return self._vote(voters, {member: answer == 2 for member, answer in answered.items()}, joint)
        assert directive.command == "committed"
        return self._committed(voters, answered, joint)

    def _vote(self, voters: JointConfig, votes: dict[int, bool], joint: bool) -> str:
        result = voters.vote_result(votes) if joint else voters.incoming.vote_result(votes)
        assert JointConfig(voters.outgoing, voters.incoming).vote_result(votes) is result
        return str(result)

    def _committed(self, voters: JointConfig, acked: dict[int, int], joint: bool) -> str:
        config = voters if joint else voters.incoming
        index = config.committed_index(acked.get)
        assert JointConfig(voters.outgoing, voters.incoming).committed_index(acked.get) == index
        if not joint:
            assert _alternative_committed(voters.incoming, acked) == index
            assert JointConfig(voters.incoming, voters.incoming).committed_index(acked.get) == index
        return config.describe(acked.get) + index_text(index)


@pytest.mark.parametrize("path", scripts("quorum"))
def test_etcd_quorum_scripts(path: Path) -> None:
    judge(path, _QuorumScript())


@given(ids, indexes)
def test_a_majority_commits_what_more_than_half_have(config: MajorityConfig, acked: dict[int, int]) -> None:
    assert config.committed_index(acked.get) == _alternative_committed(config, acked)


@given(ids, ids, indexes)
def test_a_joint_quorum_commits_what_both_halves_commit(
    incoming: MajorityConfig, outgoing: MajorityConfig, acked: dict[int, int]
) -> None:
    both = JointConfig(incoming, outgoing).committed_index(acked.get)
    assert both == min(_alternative_committed(incoming, acked), _alternative_committed(outgoing, acked))


@given(ids, ids, st.dictionaries(st.integers(1, 7), st.booleans()), st.booleans())
def test_no_later_vote_changes_a_decided_one(
    incoming: MajorityConfig, outgoing: MajorityConfig, votes: dict[int, bool], later: bool
) -> None:
    voters = JointConfig(incoming, outgoing)
    result = voters.vote_result(votes)
    everyone = {voter: votes.get(voter, later) for voter in voters.ids()}
    assert voters.vote_result(everyone) is not VoteResult.PENDING
    if result is not VoteResult.PENDING:
        assert voters.vote_result(everyone) is result


def test_any_two_quorums_of_a_configuration_meet() -> None:
    """Paper section 5.2: this is why there is at most one leader in a term."""
    config = MajorityConfig({1, 2, 3, 4})
    assert config.vote_result({1: True, 2: True}) is VoteResult.PENDING
    assert config.vote_result({1: True, 2: True, 3: False, 4: False}) is VoteResult.LOST
