"""The world of a test: a simulated cluster that is built, driven and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from rube.api import Object, Type
from rube.api.errors import InvalidArgumentError
from rube.api.types import pack
from rube.api.types.protos import checked_types, files_of
from rube.api.types.pushed import checked_kind
from rube.controllers.bringing import brought_types
from rube.controllers.cluster.catalog import make_controller
from rube.controllers.contract import Controller
from rube.sim.judges import Verdict
from rube.sim.scenario import LoadedScenario, Simulation, load, load_text
from rube.sim.scenario.judging import judge_all
from rube.sim.scenario.own_types import types_with
from rube.testing.diary import Diary
from rube.testing.simulating import Setup

Part = str | Callable[[], Controller] | Controller
"""A user's own controller: its class, a function that makes it, or its place."""

CONVERGED_S_MAX = 120.0
"""Everything is healed, and the units run as their specs say, within this."""
REST_S = 50.0
"""Then so much time passes, in which clients reconnect and daemons come to rest, before the judges judge."""


class TestWorld:
    """A cluster by its setup and seed. Close it."""

    __test__ = False

    def __init__(self, setup: Setup, seed: int, directory: Path) -> None:
        self.setup, self.seed = setup, seed
        self.diary = Diary()
        self.loaded = _loaded(setup, directory)
        self.simulation = Simulation(
            self.loaded, seed=seed, tie_break=setup.tie_break, own=lambda: [_made(part) for part in setup.controllers]
        )
        self.world, self.cluster = self.simulation.world, self.simulation.cluster
        pushed = [obj for part in setup.types for obj in _types(part)]
        brought = [obj for part in setup.controllers for obj in brought_types(_made(part))]
        self.types = types_with([*self.loaded.types, *self.loaded.brought, *brought, *pushed])
        self.simulation.build([*brought, *pushed])
        # A test begins with all types there, those of controllers too, which would push them a moment later.
        at_once = list({obj.metadata.name: obj for obj in [*self.loaded.brought, *brought, *pushed]}.values())
        self.simulation.schedule(lambda text: self.diary.tell(self.world.now_ns, f"scenario: {text}"))
        if at_once:
            self.cluster.run(lambda user: user.put_objects(at_once))

    def settle(self) -> None:
        """Heals everything and waits until the cluster is at rest. Raises RunTimeoutError if it does not converge."""
        history = self.cluster.history
        self.cluster.faults.heal_everything()
        history.quiet_ns = self.world.now_ns
        self.diary.tell(history.quiet_ns, "the test is over: everything is healed")
        self.cluster.run_until_converged(timeout_s=CONVERGED_S_MAX)
        self.world.run_for(REST_S)

    def verdicts(self) -> list[Verdict]:
        """Returns the verdicts about all that happened; call it once."""
        history = self.cluster.history
        self.cluster.conclude()
        own = [claim.verdict(history, self.types) for claim in self.setup.claims]
        return own + (judge_all(self.loaded.scenario, history, self.types) if self.setup.judges else [])

    def close(self) -> None:
        self.world.__exit__(None, None, None)


def _loaded(setup: Setup, directory: Path) -> LoadedScenario:
    if setup.scenario:
        return load(str(directory / setup.scenario))
    named = isinstance(setup.nodes, Sequence)
    nodes = f"names: [{', '.join(setup.nodes)}]" if isinstance(setup.nodes, Sequence) else f"count: {setup.nodes}"
    group = f", raft: {{members: {setup.apiservers}}}" if setup.apiservers > 1 else ""
    cluster = f"cluster: {{nodes: {{{nodes}}}{group}}}" if named or setup.nodes or group else ""
    return load_text(f"name: test\nduration: 720h\n{cluster}\nexpect: [reads]\n", "simulate")


def _made(part: Part) -> Controller:
    if isinstance(part, str):
        return make_controller(part)
    if isinstance(part, type) or not hasattr(part, "decide"):
        return cast("Callable[[], Controller]", part)()
    return cast(Controller, part)


def _types(part: Any) -> Sequence[Object]:
    if isinstance(part, Object):
        return [_as_stored(part)]
    if isinstance(part, ModuleType):
        return checked_types(files_of(part), [part.DESCRIPTOR.name])
    raise InvalidArgumentError(
        f"simulate: {part!r} is no type: name a module that protoc has generated, or an api.Type object", field="types"
    )


def _as_stored(obj: Object) -> Object:
    """Returns a type as a server stores it: judges compare what was sent with that."""
    kind = checked_kind(obj.metadata.name, Type.FromString(obj.spec.value))
    return Object(metadata=obj.metadata, spec=pack(Type.FromString(kind.source)))


def violated(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yields the lines that say which checks are violated, and what shows it."""
    for verdict in verdicts:
        if not verdict.passed:
            yield f"{verdict.check}: {verdict.text}"
            yield from (f"    {line}" for line in verdict.offending)
