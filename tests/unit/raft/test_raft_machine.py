"""Any order of steps on a cluster of cores: what must never happen does not, and a healthy network ends the trouble."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from rube.raft.raft_pb2 import ConfChangeType
from tests.unit.raft.raft_world import OPTIONS, TRANSITIONS, World

sites = st.integers(1, 8)
positions = st.integers(0, 63)
changes = st.lists(st.tuples(st.sampled_from(ConfChangeType.values()), sites), max_size=3)


class ClusterMachine(RuleBasedStateMachine):
    """The rules are what an adversary may do."""

    world: World

    @initialize(
        voters=st.sampled_from([3, 5]),
        learners=st.integers(0, 1),
        asynchronous=st.booleans(),
        pre_vote=st.booleans(),
        check_quorum=st.booleans(),
    )
    def start(self, voters: int, learners: int, asynchronous: bool, pre_vote: bool, check_quorum: bool) -> None:
        options: dict[str, Any] = {
            **OPTIONS,
            "async_storage_writes": asynchronous,
            "pre_vote": pre_vote,
            "check_quorum": check_quorum,
        }
        self.world = World(voters, learners, options)
        self.world.operate(1, "campaign", 0)

    def _site(self, number: int) -> int:
        return (number - 1) % len(self.world.sites) + 1

    @rule(number=sites, ticks=st.sampled_from([1, 1, 2, 5, 10]))
    def tick(self, number: int, ticks: int) -> None:
        self.world.tick(self._site(number), ticks)

    @rule(number=sites, position=positions)
    def propose(self, number: int, position: int) -> None:
        self.world.propose(self._site(number))

    @rule(number=sites, changes=changes, transition=st.sampled_from(TRANSITIONS))
    def change(self, number: int, changes: list[tuple[int, int]], transition: int) -> None:
        self.world.change(self._site(number), [(kind, self._site(who)) for kind, who in changes], transition)

    @rule(number=sites)
    def read(self, number: int) -> None:
        self.world.read(self._site(number))

    @rule(
        number=sites,
        other=sites,
        what=st.sampled_from(["campaign", "transfer_leader", "forget_leader", "report_unreachable", "report_snapshot"]),
    )
    def operate(self, number: int, what: str, other: int) -> None:
        self.world.operate(self._site(number), what, self._site(other))

    @rule(number=sites, crash=st.sampled_from(["", "", "", "", "before", "after"]))
    def process(self, number: int, crash: str) -> None:
        number = self._site(number)
        self.world.process(number, crash_before=crash == "before", crash_after=crash == "after")
        self.world.append_thread(number, crash_after=crash == "after")

    @rule(number=sites)
    def process_only(self, number: int) -> None:
        self.world.process(self._site(number))

    @rule(number=sites)
    def apply_thread(self, number: int) -> None:
        self.world.apply_thread(self._site(number))

    @precondition(lambda self: self.world.network)
    @rule(where=st.lists(positions, min_size=1, max_size=4), keep=st.booleans())
    def deliver(self, where: list[int], keep: bool) -> None:
        for position in where:
            self.world.deliver(position, keep=keep)

    @precondition(lambda self: self.world.network)
    @rule(where=st.lists(positions, min_size=1, max_size=6))
    def drop(self, where: list[int]) -> None:
        for position in where:
            self.world.drop(position)

    @rule(number=sites)
    def isolate(self, number: int) -> None:
        self.world.isolate(self._site(number))

    @rule(rounds=st.integers(1, 4), away=st.sets(sites, max_size=2))
    def go_on(self, rounds: int, away: set[int]) -> None:
        """Some rounds in which all goes well for those that are not away."""
        for _ in range(rounds):
            for number in self.world.sites:
                if number not in away:
                    self.world.settle(number)

    @rule(number=sites)
    def crash(self, number: int) -> None:
        self.world.crash(self._site(number))

    @rule(number=sites)
    def restart(self, number: int) -> None:
        self.world.restart(self._site(number))

    @rule(number=sites, keep=st.integers(0, 2))
    def compact(self, number: int, keep: int) -> None:
        self.world.compact(self._site(number), keep)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.recover()


TestClusterMachine = ClusterMachine.TestCase
TestClusterMachine.settings = settings(
    max_examples=30,
    stateful_step_count=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_a_lone_voter_serves_no_read_before_it_has_committed_in_its_term() -> None:
    """It may have entries that the removed leader has committed, and acknowledged to a client, without telling it."""
    world = World(2, 0, {**OPTIONS, "step_down_on_removal": False}, spares=0)
    world.operate(2, "campaign", 0)
    for number in [2, 1] * 6:
        world.settle(number)
    world.change(2, [(ConfChangeType.CONF_CHANGE_REMOVE_NODE, 2)], 0)
    world.process(2)
    world.propose(2)
    world.process(2)
    world.deliver(0)  # the change alone: it is committed, and applied by 2, before 1 has the proposal
    for number in (1, 2, 1):
        world.process(number)
        world.deliver_all(3 - number)
    lone, removed = world.sites[1].raft, world.sites[2].raft
    assert lone is not None
    assert removed is not None
    assert lone.tracker.is_singleton()
    assert (lone.log.committed, removed.log.committed) == (4, 5)
    world.operate(1, "campaign", 0)
    world.process(1)
    world.read(1)
    assert lone.read_states == []
    world.process(1)
    assert [state.index for state in lone.read_states] == [6]
    world.process(1)
