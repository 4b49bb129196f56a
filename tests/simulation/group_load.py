"""The users of a replicated group while something happens to it: clients that write, an operator who changes it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from rube.api.errors import RubeError
from rube.group import Member
from rube.group.group_pb2 import ChangeRequest
from tests.simulation.group_world import GroupMember, GroupWorld


async def ignore(call: Coroutine[Any, Any, Any]) -> Any:
    with suppress(RubeError):
        return await call


def change(group: GroupWorld, replica: GroupMember, **what: Any) -> Any:
    return group.ask(replica, lambda member: member.change(ChangeRequest(**what)))


def at_once(group: GroupWorld, replica: GroupMember, *calls: Any, in_flight: bool = False) -> list[Any]:
    """The outcomes of calls at that member that run at the same time, or their errors. `in_flight`: each begins when
    the one before has brought something into the log that is not applied yet."""
    outcomes: dict[int, Any] = {}

    async def settled(number: int, member: Member) -> None:
        try:
            outcomes[number] = await calls[number](member)
        except RubeError as error:
            outcomes[number] = error

    log = replica.member._core.node.raft.log
    for number in range(len(calls)):
        last = log.last_index()
        replica.process.create_task(settled(number, replica.member))  # type: ignore[arg-type]
        if in_flight and number + 1 < len(calls):
            group.world.run_until(lambda last=last: log.last_index() > last)  # type: ignore[misc]
            assert number not in outcomes
    group.world.run_until(lambda: len(outcomes) == len(calls), timeout_s=60)
    return [outcomes[number] for number in range(len(calls))]


class Load:
    """Clients that put numbers through all members, one after the other each, and remember what was acknowledged."""

    def __init__(self, group: GroupWorld, clients: int = 5) -> None:
        self._group = group
        self._stopped = False
        self._acknowledged: dict[str, int] = {}
        for number in range(clients):
            group.desk.host.spawn(f"client-{number}", partial(self._client, number))

    def stop(self) -> None:
        self._stopped = True

    async def _client(self, number: int) -> None:
        value = 0
        while not self._stopped:
            value += 1
            replicas = [one for one in self._group.replicas.values() if one.member is not None]
            if replicas:
                await self._put(replicas[(number + value) % len(replicas)], f"c{number}", value)
            await asyncio.sleep(0.01)

    async def _put(self, replica: GroupMember, key: str, value: int) -> None:
        """The call runs in the member's process, and may die with it."""
        task = replica.process.create_task(ignore(replica.member.propose(f"{key}={value}".encode())))
        died = asyncio.get_running_loop().create_future()
        replica.process.on_death(lambda *_: None if died.done() else died.set_result(None))
        await asyncio.wait([task, died], return_when=asyncio.FIRST_COMPLETED)
        if task.done() and task.result():
            self._acknowledged[key] = value

    def check(self, replicas: Iterable[GroupMember] | None = None) -> None:
        """Every one of the members has what was acknowledged, or something newer."""
        assert len(self._acknowledged) > 3
        for replica in self._group.replicas.values() if replicas is None else replicas:
            for key, value in self._acknowledged.items():
                assert int(replica.state.pairs[key.encode()]) >= value
