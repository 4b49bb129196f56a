"""People who look after a replicated group: they replace a disk, and move the leadership."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from grpc import aio

from rube.api.errors import AlreadyExistsError, DeadlineExceededError, NotFoundError, RubeError, UnavailableError
from rube.group.group_pb2 import ChangeRequest, ChangeResponse, DescribeRequest, Description, Peer
from rube.group.group_pb2_grpc import MembersStub
from rube.host import Host
from rube.store import parse_store_url
from rube.transport import rube_error

if TYPE_CHECKING:
    from rube.group.group_pb2_grpc import MembersAsyncStub

ATTEMPTS_MAX = 1_000
CALL_S = 6.0
PAUSE_S = 0.3


def joining_url(url: str) -> str:
    """The store URL of a member whose disk is new: it enters the group that the others of `members` are in."""
    parsed = parse_store_url(url)
    if not parsed.option("members"):
        return url
    name = parsed.option("name")
    peers = [entry.partition("=") for entry in parsed.option("members").split(",")]
    others = ",".join(address for peer, _, address in peers if peer != name)
    own = next(address for peer, _, address in peers if peer == name)
    options = [(key, value) for key, value in parsed.options if key not in ("members", "join", "address")]
    return str(replace(parsed, options=(*options, ("address", own), ("join", others))))


class Operator:
    """Asks a group's members, one after the other."""

    def __init__(self, host: Host, members: Sequence[tuple[str, str]]) -> None:
        """`members`: the name and the address of each."""
        self._host = host
        self._addresses = dict(members)

    async def replace(self, name: str) -> None:
        """Takes the member of that name out, with the disk that it had, and lets the group expect a new one."""
        others = [other for other in self._addresses if other != name]
        gone = await self._id_of(name, others)
        if gone:
            await self._until_done(others, lambda stub: self._remove(stub, name, gone))
        peer = Peer(name=name, address=self._addresses[name], promote=True)
        await self._until_done(others, lambda stub: _change(stub, ChangeRequest(add=peer)))

    async def until_votes(self, name: str) -> None:
        """Returns once the member of that name has come, caught up and votes."""
        others = [other for other in self._addresses if other != name]

        async def look(stub: MembersAsyncStub) -> None:
            peers = (await _describe(stub)).peers
            if not any(peer.name == name and peer.id and not peer.learner for peer in peers):
                raise UnavailableError(f"member {name!r} does not vote yet")

        await self._until_done(others, look)

    async def transfer(self, name: str) -> None:
        """Asks once that this member lead; it may not be able to."""
        for target in self._addresses.values():
            try:
                await self._ask(target, lambda stub: _change(stub, ChangeRequest(transfer_leader=name)))
            except RubeError:
                continue
            return

    async def _remove(self, stub: MembersAsyncStub, name: str, gone: int) -> None:
        """Removes the member `gone`, and not one that came under its name since."""
        described = await _describe(stub)
        if any(peer.id == gone for peer in described.peers):
            await _change(stub, ChangeRequest(remove=name))

    async def _id_of(self, name: str, others: Sequence[str]) -> int:
        described: list[Description] = []

        async def look(stub: MembersAsyncStub) -> None:
            described.append(await _describe(stub))

        await self._until_done(others, look)
        return next((peer.id for peer in described[-1].peers if peer.name == name), 0)

    async def _until_done(self, names: Sequence[str], act: Callable[[MembersAsyncStub], Awaitable[object]]) -> None:
        why = ""
        for turn in range(ATTEMPTS_MAX):
            try:
                await self._ask(self._addresses[names[turn % len(names)]], act)
            except (AlreadyExistsError, NotFoundError):
                return  # done by an attempt without an answer
            except RubeError as error:
                why = error.message
                await self._host.clock.sleep(PAUSE_S)
            else:
                return
        raise DeadlineExceededError(f"an operator of the group got nothing done in {ATTEMPTS_MAX} attempts: {why}")

    async def _ask(self, target: str, act: Callable[[MembersAsyncStub], Awaitable[object]]) -> None:
        channel = self._host.network.channel(target)
        stub: MembersAsyncStub = MembersStub(channel)
        try:
            await act(stub)
        except aio.AioRpcError as error:
            raise rube_error(error) from error
        finally:
            await channel.close(None)


async def _describe(stub: MembersAsyncStub) -> Description:
    return await stub.Describe(DescribeRequest(), timeout=CALL_S)


async def _change(stub: MembersAsyncStub, request: ChangeRequest) -> ChangeResponse:
    return await stub.Change(request, timeout=CALL_S)
