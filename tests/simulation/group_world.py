"""Members of a replicated group in a simulated world: a dictionary is what they agree on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from rube.api.errors import RubeError
from rube.group import Member, MemberConfig
from rube.group.machine import Effect
from rube.host import Engine, Write
from rube.sim.cluster.machines import Machine, make_machine
from rube.sim.world.kernel import SimProcess, World
from rube.sim.world.network import SimFabric

URL = "sqlite:///member.db"
PORT = 7900
_PREFIX = b"kv/"
_END = b"kv0"


class Dictionary:
    """`rube.group.StateMachine`: commands `key=value`, outcomes the number of commands so far and the old value."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pairs: dict[bytes, bytes] = {}
        self.count = 0

    @property
    def ranges(self) -> Sequence[tuple[bytes, bytes]]:
        return ((_PREFIX, _END),)

    def apply(self, command: bytes) -> Effect:
        key, _, value = command.partition(b"=")
        old, self.pairs[key] = self.pairs.get(key), value
        self.count += 1
        count = Write(_PREFIX + b"!", b"%d" % self.count)
        return Effect((self.count, old), [Write(_PREFIX + b"/" + key, value), count])

    def durable(self, writes: int) -> None: ...

    def suspend(self) -> None: ...

    async def reload(self, group_id: str) -> None:
        stored = dict(self.engine.scan(_PREFIX, _END))
        self.count = int(stored.pop(_PREFIX + b"!", b"0"))
        self.pairs = {key[len(_PREFIX) + 1 :]: value for key, value in stored.items()}


class GroupMember:
    """One host with a member on it; what it was last."""

    def __init__(self, world: GroupWorld, name: str) -> None:
        self.name = name
        self.machine: Machine = make_machine(world.world, world.fabric, world.world.host(name, drift_ppm=100))
        self.process: SimProcess | None = None
        self.member: Member | None = None
        self.state: Dictionary | None = None
        self.failure: RubeError | None = None
        self._stop = asyncio.Event()

    def start(self, config: MemberConfig) -> None:
        async def main() -> None:
            engine = await self.machine.ports.storage.open(URL)
            self.state = Dictionary(engine)
            try:
                self.member = await Member.open(self.machine.ports, engine, self.state, config)
            except RubeError as error:
                self.failure = error
                return
            ends: list[asyncio.Future[Any]] = [
                asyncio.shield(self.member.failed),
                asyncio.ensure_future(self._stop.wait()),
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self.member.failed.done():
                self.failure = self.member.failed.result()
            await self.member.close()
            await engine.close()
            self.member = None

        self.member, self.failure, self._stop = None, None, asyncio.Event()
        self.process = self.machine.host.spawn("member", main)

    def stop(self) -> None:
        """Stops the member as SIGTERM does."""
        self._stop.set()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.member = None

    @property
    def leads(self) -> bool:
        return self.member is not None and self.member.leads


class GroupWorld:
    """The members `a`, `b`, `c`, … Nothing runs until it is started."""

    def __init__(self, world: World, names: str = "abc", **config: Any) -> None:
        self.world = world
        self.fabric = SimFabric(world)
        self.desk = make_machine(world, self.fabric, world.observer)
        self.founders = names
        self.config = {"tick_s": 0.05, **config}
        self.replicas: dict[str, GroupMember] = {}

    def address(self, name: str) -> str:
        return f"{name}:{PORT}"

    def start(self, name: str, **config: Any) -> GroupMember:
        replica = self.replicas.setdefault(name, None) or GroupMember(self, name)  # type: ignore[arg-type]
        self.replicas[name] = replica
        if "join" not in config:
            config["members"] = tuple((one, self.address(one)) for one in self.founders)
        settings = {**self.config, **config}
        replica.start(MemberConfig(name=name, listen=f"0.0.0.0:{PORT}", address=self.address(name), **settings))
        return replica

    def start_all(self) -> None:
        for name in self.founders:
            self.start(name)
        self.world.run_until(lambda: self.leading() is not None and len(self.voters()) == len(self.founders))
        self.world.run_for(0.5)  # the last one hears that it votes

    def leader(self) -> GroupMember:
        """The member that leads, in the highest term."""
        leader = self.leading()
        assert leader is not None, "no member leads"
        return leader

    def leading(self) -> GroupMember | None:
        """The member that leads, if one does, in the highest term."""
        leading = [(one.member.term, one) for one in self.replicas.values() if one.member is not None and one.leads]
        return max(leading, key=lambda pair: pair[0])[1] if leading else None

    def voters(self) -> list[str]:
        leader = self.leader()
        assert leader.member is not None
        return [peer.name for peer in leader.member.describe().peers if not peer.learner]

    def ask(self, replica: GroupMember, call: Callable[[Member], Coroutine[Any, Any, Any]]) -> Any:
        """The outcome of a call at that member, or its error."""
        outcome: list[Any] = []

        async def body() -> None:
            assert replica.member is not None
            try:
                outcome.append(await call(replica.member))
            except RubeError as error:
                outcome.append(error)

        assert replica.process is not None
        replica.process.create_task(body())
        self.world.run_until(lambda: bool(outcome), timeout_s=60)
        return outcome[0]

    def put(self, replica: GroupMember, key: str, value: str) -> Any:
        return self.ask(replica, lambda member: member.propose(f"{key}={value}".encode()))

    def equal(self) -> bool:
        """True if all running members have the same state."""
        states = [one.state.pairs for one in self.replicas.values() if one.member is not None and one.state is not None]
        return all(state == states[0] for state in states)
