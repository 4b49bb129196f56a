"""A ledger that a Raft group keeps: lines in one order, each at a position that never changes.

`Ledger` is the state that the members agree on, `rube.group.Member` does the agreeing, and `keep` is a program around
both. Each takes its clock, network and disk from a `Host`, so it runs on real machines and in a simulated world alike.
Real, with three members in one process: `python ledger.py`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from rube.group import Effect, Member, MemberConfig
from rube.host import Engine, Host, Write

FIRST, END = b"ledger/", b"ledger0"  # the ledger's range of keys in the engine, which the member's log shares


class Ledger:
    """The `rube.group.StateMachine`: a command is a line, its outcome the line's position."""

    def __init__(self, engine: Engine) -> None:
        self.lines: list[str] = []
        self._engine = engine

    @property
    def ranges(self) -> Sequence[tuple[bytes, bytes]]:
        return ((FIRST, END),)

    def apply(self, command: bytes) -> Effect:
        self.lines.append(command.decode())
        position = len(self.lines)
        return Effect(position, [Write(FIRST + b"%012d" % position, command)])

    def durable(self, writes: int) -> None: ...

    def suspend(self) -> None: ...

    async def reload(self, group_id: str) -> None:
        self.lines = [line.decode() for _, line in self._engine.scan(FIRST, END)]


class Clerk:
    """A user of the ledger, beside one member. Any member takes appends and reads."""

    def __init__(self, member: Member, ledger: Ledger) -> None:
        self._member = member
        self._ledger = ledger

    async def append(self, line: str) -> int:
        """Returns the line's position. Raises UnavailableError; with metadata `unknown` it may be appended later."""
        position: int = await self._member.propose(line.encode())
        return position

    async def read(self) -> list[str]:
        """Returns all lines that had been appended by the time of the call. Raises UnavailableError."""
        await self._member.read_barrier()
        return self.copy()

    def copy(self) -> list[str]:
        """Returns the lines that this member has, which may be behind."""
        return list(self._ledger.lines)


async def keep(host: Host, config: MemberConfig, work: Callable[[Clerk], Awaitable[None]], url: str) -> None:
    """Keeps one copy of the ledger, in the engine at that URL, for as long as `work` takes. Raises the member's error
    if the member fails."""
    engine = await host.storage.open(url)
    try:
        ledger = Ledger(engine)
        member = await Member.open(host, engine, ledger, config)
        try:
            working: asyncio.Future[None] = asyncio.ensure_future(work(Clerk(member, ledger)))
            ends: list[asyncio.Future[Any]] = [working, member.failed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if member.failed.done():
                working.cancel()
                raise member.failed.result()
            await working
        finally:
            await member.close()
    finally:
        await engine.close()


def config_of(name: str, addresses: dict[str, str]) -> MemberConfig:
    """The configuration of a member of the group that all of these members form."""
    return MemberConfig(name=name, listen=addresses[name], members=tuple(addresses.items()), tick_s=0.05, patience_s=2)


async def main(directory: str) -> None:
    from rube.host import RealClock, RealRandomness
    from rube.store import RealStorage
    from rube.transport import GrpcNetwork

    addresses = {"a": "127.0.0.1:7801", "b": "127.0.0.1:7802", "c": "127.0.0.1:7803"}
    appended = asyncio.Barrier(len(addresses))

    async def work(name: str, clerk: Clerk) -> None:
        position = await clerk.append(f"a line of {name}")
        print(f"{name}: position {position}")
        await appended.wait()
        print(f"{name}: {len(await clerk.read())} lines")
        await appended.wait()  # a member that left earlier could take the majority with it

    async with asyncio.TaskGroup() as members:
        for name in addresses:
            host = Host(
                name=name, clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness()
            )
            url = f"sqlite:///{directory}/{name}.db"
            members.create_task(keep(host, config_of(name, addresses), partial(work, name), url))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(main(sys.argv[1] if sys.argv[1:] else place))
