"""ClusterMachine: a Hypothesis state machine whose rules are a user's actions and faults, over a simulated cluster."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from rube.api.errors import NotFoundError, RubeError
from rube.testing.cluster import Cluster
from rube.testing.simulating import Setup
from rube.testing.strategies import names, objects
from rube.testing.world import Part, TestWorld, violated

SEEDS = st.integers(0, 2**16 - 1)
SECONDS = st.sampled_from([0.001, 0.1, 1.0, 10.0, 45.0])


class ClusterMachine(RuleBasedStateMachine):
    """A user's puts and deletes and faults, in any order.

    In the end everything is healed, the cluster has to come to rest, and the judges judge all that happened. Derive
    from it, and name what is yours:

        class BackupMachine(ClusterMachine):
            controllers = [Backups]
            put_types = ["acme.Backup"]

        TestBackups = BackupMachine.TestCase

    Rules and invariants of your own use `self.cluster`. A run takes a tenth of a second or more:
    `BackupMachine.TestCase.settings = settings(max_examples=20, deadline=None)`.
    """

    nodes: ClassVar[int | Sequence[str]] = 2
    apiservers: ClassVar[int] = 1
    controllers: ClassVar[Sequence[Part]] = ()
    types: ClassVar[Sequence[Any]] = ()
    put_types: ClassVar[Sequence[str]] = ("api.systemd.Unit",)
    """The types of the objects that are put and deleted."""
    claims: ClassVar[Sequence[Any]] = ()
    """Claims of your own: `always`, `never`, `eventually`."""

    def __init__(self) -> None:
        super().__init__()
        self._world: TestWorld | None = None

    @initialize(seed=SEEDS)
    def begin(self, seed: int) -> None:
        """Makes the cluster."""
        logging.getLogger("rube").setLevel(logging.CRITICAL)
        setup = Setup(
            nodes=self.nodes,
            apiservers=self.apiservers,
            controllers=self.controllers,
            types=self.types,
            claims=self.claims,
        )
        self._world = TestWorld(setup, seed, Path())
        self.cluster = Cluster(self._world)
        self.hosts = [*self.cluster.hosts]
        self.begun()

    def begun(self) -> None:
        """Is called once the cluster is there: for what every run begins with."""

    def ended(self) -> None:
        """Is called once everything is healed and at rest, before the judges: for what must be so then."""

    # A user's actions

    @rule(data=st.data())
    def put(self, data: st.DataObject) -> None:
        """Puts a new object, or one of its name over it; a server that does not answer is left alone."""
        wanted = data.draw(st.sampled_from(self.put_types), label="type")
        assert self._world is not None
        self._tried(lambda obj: self.cluster.put(obj), data.draw(objects(wanted, self._world.types), label="object"))

    @rule(data=st.data(), name=names())
    def delete(self, data: st.DataObject, name: str) -> None:
        wanted = data.draw(st.sampled_from(self.put_types), label="type")
        self._tried(lambda name: self.cluster.delete(wanted, name), name)

    def _tried(self, act: Any, value: Any) -> None:
        try:
            act(value)
        except NotFoundError:
            pass
        except RubeError as error:
            note(f"refused: {error.message}")

    # Faults

    @rule(data=st.data(), seconds=SECONDS)
    def kill(self, data: st.DataObject, seconds: float) -> None:
        self.cluster.kill(self._host(data), for_s=seconds)

    @rule(data=st.data(), seconds=SECONDS)
    def cut(self, data: st.DataObject, seconds: float) -> None:
        self.cluster.cut(self._host(data), for_s=seconds)

    @rule(data=st.data(), seconds=SECONDS)
    def pause(self, data: st.DataObject, seconds: float) -> None:
        self.cluster.pause(self._host(data), for_s=seconds)

    @rule(data=st.data(), seconds=SECONDS)
    def power_off(self, data: st.DataObject, seconds: float) -> None:
        self.cluster.power_off(self._host(data), for_s=seconds)

    @rule(data=st.data(), seconds=st.sampled_from([-3600.0, -1.0, 1.0, 3600.0]))
    def jump_clock(self, data: st.DataObject, seconds: float) -> None:
        self.cluster.jump_clock(self._host(data), seconds)

    @rule(data=st.data())
    def reset_connections(self, data: st.DataObject) -> None:
        self.cluster.reset_connections(self._host(data))

    @rule(seconds=SECONDS)
    def run_for(self, seconds: float) -> None:
        self.cluster.run_for(seconds)

    def _host(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.hosts), label="host")

    # The end

    def teardown(self) -> None:
        if (world := self._world) is None:
            return
        self._world = None
        try:
            if sys.exception() is None:
                self._judge(world)
        finally:
            world.close()

    def _judge(self, world: TestWorld) -> None:
        __tracebackhide__ = True
        world.settle()
        self.ended()
        wrong = list(violated(world.verdicts()))
        assert not wrong, "\n".join(
            [
                "what happened in the cluster breaks its promises:",
                *wrong,
                world.diary.text(),
                f"seed {world.seed}; trace sha256 {world.world.trace.digest()}",
            ]
        )
