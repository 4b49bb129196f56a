"""Members of a group come and go at random, under load, while processes die and disks are lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from rube.api.errors import FailedPreconditionError, RubeError
from rube.cli.cluster import call_once
from rube.group.group_pb2 import ChangeRequest, Peer
from rube.group.group_pb2_grpc import MembersStub
from rube.sim.cluster.group_observer import GroupWatch
from rube.sim.judges import GroupHistory
from rube.sim.world.kernel import World
from tests.simulation.group_load import Load
from tests.simulation.group_world import GroupMember, GroupWorld

NAMES = "abcde"
STEPS = 60
RESTART_S_MAX = 1.5
"""A process that has ended is started again by then, with an empty disk where the group does not want the one it
had."""
NOTICED_S = 1.5
"""After this a member that has died is known to be silent: no change rests on its vote."""
DOWN_MAX = 2


@pytest.mark.parametrize("seed", [*range(5), 58, 136])
def test_a_group_whose_members_change_all_the_time_keeps_its_quorum_and_loses_nothing(seed: int) -> None:
    with World(seed=seed) as world:
        turmoil = Turmoil(world, random.Random(seed))
        turmoil.start()
        for _ in range(STEPS):
            turmoil.step()
        turmoil.settle()
        turmoil.check()


class Turmoil:
    """Operators who change the group through any of its members, and faults that strike it."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.history = GroupHistory()
        self.watch = GroupWatch(self.history, lambda: world.now_ns, world.trace, judged=True)
        self.group = GroupWorld(world, "abc", log_entries_kept=40, patience_s=2.0, piece_bytes_max=2000)
        # When a process that has ended is to start again, by its member's name.
        self.due_ns: dict[str, int] = {}
        # Ids of disks that are gone.
        self.lost: set[int] = set()
        self.outcomes: list[str] = []
        self.under_way = 0
        # Operators hold still; for good.
        self.quiet = self.ended = False

    def start(self) -> None:
        for name in "abc":
            self.group.start(name, observer=self.watch.observer(name))
        self.world.run_until(lambda: self.group.leading() is not None and len(self.group.voters()) == 3)
        for name in "de":
            self.run(name)
        self.load = Load(self.group)
        for number in range(3):
            self.group.desk.host.spawn(f"operator-{number}", partial(self.operate, number))

    # The operators

    async def operate(self, number: int) -> None:
        clock, dice = self.group.desk.ports.clock, random.Random(self.dice.random())
        while not self.ended:
            await clock.sleep(dice.uniform(0.01, 0.3))
            if self.quiet:
                continue
            request = self.request(dice)
            self.under_way += 1
            try:
                await self.ask(request, dice.sample(NAMES, 3))
                self.outcomes.append(request.WhichOneof("change") or "")
            except RubeError as error:
                self.outcomes.append(type(error).__name__)
            finally:
                self.under_way -= 1

    def request(self, dice: random.Random) -> ChangeRequest:
        name = dice.choice(NAMES)
        return dice.choice(
            [
                ChangeRequest(add=Peer(name=name, address=self.group.address(name), promote=dice.random() < 0.8)),
                ChangeRequest(add=Peer(name=name, address=self.group.address(name), promote=True)),
                ChangeRequest(remove=name),
                ChangeRequest(promote=name),
                ChangeRequest(transfer_leader=name),
            ]
        )

    async def ask(self, request: ChangeRequest, names: Sequence[str]) -> Any:
        """Sends the request as `rube cluster` does."""

        async def change(stub: MembersStub) -> Any:
            return await stub.Change(request, timeout=12)  # type: ignore[misc]  # grpc-stubs lag behind

        return await call_once(self.group.desk.ports, [self.group.address(name) for name in names], change)

    # The faults

    def step(self) -> None:
        self.world.run_for(self.dice.uniform(0.05, 0.4))
        self.look()
        self.restart()
        fault = self.dice.random()
        running = [one for one in self.group.replicas.values() if one.process.alive]
        if fault < 0.25 and len(self.due_ns) < DOWN_MAX:
            self.kill(self.dice.choice(running))
        elif fault < 0.32:
            self.lose_a_disk()
        elif fault < 0.45:
            one, other = self.dice.sample(NAMES, 2)
            self.group.fabric.clog(one, other, self.dice.uniform(0.1, 0.8))

    def look(self) -> None:
        assert self.history.broken == []
        leader = self.group.leading()
        if leader is not None:
            voters = {*leader.member._core.node.raft.tracker.config.voters.ids()}
            assert len(voters - self.lost) > len(voters) // 2, f"of {len(voters)} voters too many have no disk"

    def kill(self, replica: GroupMember) -> None:
        replica.kill()
        self.due_ns[replica.name] = self.world.now_ns + round(self.dice.uniform(0, RESTART_S_MAX) * 1e9)

    def lose_a_disk(self) -> None:
        """One that the group can do without. No change is made until that is noticed: what happens at the very moment
        of a change is not the group's doing."""
        self.quiet = True
        self.world.run_until(lambda: self.under_way == 0, timeout_s=60)
        self.all_up()
        leader = self.group.leading()
        if leader is not None:
            voters = {*leader.member._core.node.raft.tracker.config.voters.ids()}
            up = {one.member.id: one for one in self.group.replicas.values() if one.member is not None}
            victim = self.dice.choice(sorted(up))
            promoted = any(peer.id == victim and peer.learner for peer in leader.member.describe().peers)
            if not promoted and len((voters & {*up}) - {victim}) > len(voters) // 2:
                self.kill(up[victim])
                self.wipe(up[victim])
                self.world.run_for(NOTICED_S)
        self.quiet = False

    def wipe(self, replica: GroupMember) -> None:
        self.lost |= {member for member, name in self.watch._names.items() if name == replica.name}
        replica.machine.disk.wipe()

    def restart(self) -> None:
        """Restarts members as service managers do, and wipes the disk of one that is refused, as a person does."""
        for replica in self.group.replicas.values():
            if replica.process.alive:
                continue
            if replica.failure is not None:
                assert isinstance(replica.failure, FailedPreconditionError), repr(replica.failure)
                self.wipe(replica)
            if self.due_ns.get(replica.name, 0) <= self.world.now_ns:
                self.due_ns.pop(replica.name, None)
                self.run(replica.name)

    def run(self, name: str) -> None:
        others = tuple(self.group.address(other) for other in NAMES if other != name)
        self.group.start(name, join=others, observer=self.watch.observer(name))

    def all_up(self) -> None:
        while self.due_ns:
            self.world.run_for(0.2)
            self.restart()
        self.world.run_for(1)

    # The end

    def settle(self) -> None:
        self.ended = True
        self.all_up()
        self.world.run_until(lambda: self.under_way == 0, timeout_s=60)
        self.world.run_for(5)
        self.load.stop()
        self.world.run_for(3)

    def check(self) -> None:
        self.look()
        leader = self.group.leading()
        assert leader is not None
        assert not isinstance(self.group.put(leader, "last", "1"), RubeError)
        self.world.run_for(1)
        described = leader.member.describe()
        by_id = {one.member.id: one for one in self.group.replicas.values() if one.member is not None}
        members = [by_id[peer.id] for peer in described.peers if peer.id in by_id]
        for one in members:
            assert one.member.describe().peers == described.peers
            assert one.member._core.state.roster.removed == leader.member._core.state.roster.removed
            assert one.state.pairs == leader.state.pairs
            config = one.member._core.node.raft.tracker.config
            assert {*config.voters.ids(), *config.learners} == {peer.id for peer in described.peers if peer.id}
        assert not {peer.id for peer in described.peers} & {*leader.member._core.state.roster.removed}
        self.load.check(members)
        assert len(leader.member._core.state.roster.removed) > 2, "hardly anything has happened"
        assert self.history.elections > 3
