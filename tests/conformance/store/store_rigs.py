"""The hands by which the model machine drives a store, step by step, from synchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from rube.api.errors import RubeError
from rube.sim.world.kernel import SimHost, SimProcess, World
from rube.store import Store, StoreConfig
from tests.conformance.store.simulated_etcd_site import SimulatedEtcdSite
from tests.conformance.store.store_sites import SimSite, Site

SMALL = StoreConfig(tail_bytes_max=1500, watch_changes_max=2)
SETTLED_S = 30.0
"""Longer than any call of a store takes to end, in virtual time."""

Call = Callable[[Store], Coroutine[Any, Any, Any]]


class Rig(Protocol):
    """One store under test."""

    store: Store
    in_order: bool
    """True if calls that begin together are carried out in their order."""
    owned: bool
    """True if nothing else writes to it: its revisions begin at 0 and have no gaps."""

    def ask(self, call: Call) -> Any:
        """The result of a call, or the RubeError that it raises."""
        ...

    def together(self, calls: Sequence[Call]) -> list[Any]:
        """The same of calls that begin together."""
        ...

    def restart(self) -> None:
        """Closes the store and opens it anew."""
        ...

    def stop(self) -> None: ...


class RealRig:
    """A store on the real loop, which runs while a call does."""

    in_order = False

    def __init__(self, make: Callable[[Path], Site], *, owned: bool) -> None:
        self.owned = owned
        self._directory = TemporaryDirectory()
        self._site = make(Path(self._directory.name))
        self._runner = asyncio.Runner()
        self.store = self._runner.run(self._site.open_store(SMALL))

    def ask(self, call: Call) -> Any:
        return self._runner.run(outcome_of(call, self.store))

    def together(self, calls: Sequence[Call]) -> list[Any]:
        async def main() -> list[Any]:
            return list(await asyncio.gather(*(outcome_of(call, self.store) for call in calls)))

        return self._runner.run(main())

    def restart(self) -> None:
        self._runner.run(self.store.close())
        self.store = self._runner.run(self._site.open_store(SMALL))

    def stop(self) -> None:
        self._runner.run(self.store.close())
        self._runner.close()
        self._directory.cleanup()


class CrashingRig:
    """A store in a process of its own in a world: `crash` may come between any two of its steps."""

    in_order = True
    owned = True
    crashes: tuple[str, ...] = ("kill", "power")
    step_s = 50e-6
    """About as long as a step of a commit takes."""

    def __init__(self, site: SimSite | SimulatedEtcdSite) -> None:
        self.world: World = site.world
        self.site: Site = site
        self.host: SimHost = site.sim_host
        self.store_id = ""
        self.start()

    def start(self) -> None:
        """A new incarnation opens the store."""
        opened: list[Store] = []

        async def serve() -> None:
            opened.append(await self.site.open_store(SMALL))
            await asyncio.Event().wait()

        self.process: SimProcess = self.host.spawn("store", serve)
        self.world.run_until(lambda: bool(opened))
        self.store = opened[0]
        self.store_id = self.store_id or self.store.store_id
        assert self.store.store_id == self.store_id

    def ask(self, call: Call) -> Any:
        return self.together([call])[0]

    def together(self, calls: Sequence[Call]) -> list[Any]:
        outcomes = self.begin(calls)
        self.world.run_until(lambda: all(outcome is not None for outcome in outcomes))
        return [outcome[0] for outcome in outcomes]

    def begin(self, calls: Sequence[Call]) -> list[Any]:
        """Starts calls; each gets its place in the list when it ends, as a tuple of one."""
        outcomes: list[Any] = [None] * len(calls)

        async def run(index: int, call: Call) -> None:
            outcomes[index] = (await outcome_of(call, self.store),)

        for index, call in enumerate(calls):
            self.process.create_task(run(index, call))
        return outcomes

    def run_for(self, seconds: float) -> None:
        self.world.run_for(seconds)

    def crash(self, how: str) -> None:
        """Ends the store's process, or its host, and starts it again."""
        if how == "kill":
            self.process.kill()
        else:
            self.host.power_off()
            self.host.power_on()
        self.start()

    def restart(self) -> None:
        self.ask(lambda store: store.close())
        self.process.kill()
        self.start()

    def stop(self) -> None:
        self.world.close()


class CrashingEtcdRig(CrashingRig):
    """A simulated etcd of three members, which crash too; one, or all of them at once."""

    in_order = False
    owned = False
    step_s = 500e-6
    crashes = ("kill", "kill a member", "power of a member", "power of all")

    def __init__(self) -> None:
        site = SimulatedEtcdSite(members=3)
        self._cluster = site.cluster
        self._turn = 0
        super().__init__(site)

    def crash(self, how: str) -> None:
        """Returns when nothing of what was under way can still be written."""
        faults, members = self._cluster.faults, list(self._cluster.hosts)
        self._turn += 1
        struck = members if how == "power of all" else [members[self._turn % len(members)]]
        if how == "kill":
            super().crash(how)
        for member in struck if how != "kill" else []:
            (faults.kill if how == "kill a member" else faults.power_off)(member)
        self.world.run_for(0.5)
        for member in members:
            faults.power_on(member)
        self.world.run_for(SETTLED_S)


async def outcome_of(call: Call, store: Store) -> Any:
    try:
        return await call(store)
    except RubeError as error:
        return error
