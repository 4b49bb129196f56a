"""The first start of a member, on an empty disk: it forms a group with others, or joins one.

The member whose name sorts first forms the group alone, after all the other named members have answered that they
belong to none. Then it adds them one by one, as it would any later member. So a member that has lost its disk never
votes twice: it has a new id, and the group refuses its known name until the lost member is removed. Volatile members
lose their disks as a matter of course (rube/group/volatile.py).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from grpc import aio

from rube.api.errors import FailedPreconditionError, NotDoneError, RubeError, UnavailableError
from rube.group.config import MemberConfig
from rube.group.group_pb2 import (
    Applied,
    DescribeRequest,
    Description,
    Identity,
    JoinRequest,
    JoinResponse,
    LogStart,
    Peer,
)
from rube.group.group_pb2_grpc import MembersStub
from rube.group.records import (
    APPLIED_KEY,
    FORMAT,
    FORMAT_KEY,
    HARD_STATE_KEY,
    IDENTITY_KEY,
    LOG_START_KEY,
    check_format,
    read,
    seal,
)
from rube.host import Engine, Host, Write
from rube.raft.raft_pb2 import ConfState, HardState
from rube.transport import rube_error

_LOG = logging.getLogger("rube.group")

CALL_S = 1.0
RETRY_S = 0.25
TELL_EVERY = 20
"""The log says once in so many attempts what the start waits for."""
# A new group begins as if this entry had been applied.
FIRST_INDEX = 1
FIRST_TERM = 1
_ID_BITS = 62


if TYPE_CHECKING:
    from rube.group.group_pb2_grpc import MembersAsyncStub

_Answer = TypeVar("_Answer")


class Founding:
    """The first start of one member on one engine."""

    def __init__(self, host: Host, engine: Engine, config: MemberConfig) -> None:
        self._host = host
        self._engine = engine
        self._config = config

    async def identity(self) -> Identity:
        """Returns the identity of this member; on an empty disk it waits until the group exists and has taken it in.

        Raises FailedPreconditionError if the group refuses it or the disk belongs to another member.
        """
        known = read(self._engine, IDENTITY_KEY, Identity) if check_format(self._engine) else None
        if known is not None and known.name != self._config.name:
            raise FailedPreconditionError(
                f"this disk belongs to member {known.name!r}, not {self._config.name!r}: name the right one"
            )
        if known is not None and known.group_id:
            return known
        if known is None:
            known = Identity(
                id=self._host.random.stream("replica/id").getrandbits(_ID_BITS) | 1, name=self._config.name
            )
            await self._keep(known)
        others = [(name, address) for name, address in self._config.members if name != self._config.name]
        if self._config.volatile:
            return await self._come_in(known, others)
        if self._config.members and all(self._config.name < name for name, _ in others):
            return await self._form(known, others)
        return await self._join(known, self._config.join or tuple(address for _, address in others))

    async def _form(self, known: Identity, others: list[tuple[str, str]]) -> Identity:
        for name, address in others:
            described = await self._patiently(
                name, address, lambda stub: stub.Describe(DescribeRequest(), timeout=CALL_S)
            )
            _check_free(described, name, address, self._config.name)
        return await self._found(known, others)

    async def _come_in(self, known: Identity, others: list[tuple[str, str]]) -> Identity:
        """Joins a volatile member to a group that another member is in. Where there is no group, the member whose name
        sorts first forms it, after all others have answered that they have none.

        Raises FailedPreconditionError if the group refuses it.
        """
        attempt = 0
        while True:
            told = [await self._described(name, address, attempt) for name, address in others]
            groups = [address for (_, address), one in zip(others, told, strict=True) if one and one.group_id]
            if groups:
                if (joined := await self._try_join(known, groups[attempt % len(groups)], attempt)) is not None:
                    return joined
            elif all(told) and all(self._config.name < name for name, _ in others):
                return await self._found(known, others)
            attempt += 1
            await self._host.clock.sleep(RETRY_S)

    async def _described(self, name: str, address: str, attempt: int) -> Description | None:
        """Returns the description that the member there gives of itself; None if it does not answer.

        Raises FailedPreconditionError if it has another name.
        """
        try:
            described = await self._call(address, lambda stub: stub.Describe(DescribeRequest(), timeout=CALL_S))
        except RubeError as error:
            self._tell(attempt, f"for member {name} at {address}", error)
            return None
        _check_name(described, name, address)
        return described

    async def _try_join(self, known: Identity, address: str, attempt: int) -> Identity | None:
        try:
            answer = await self._call(
                address, lambda stub: stub.Join(JoinRequest(peer=self._peer(known)), timeout=CALL_S)
            )
        except FailedPreconditionError:
            raise
        except RubeError as error:
            self._tell(attempt, f"to be taken in by {address}", error)
            return None
        return await self._joined(known, answer)

    async def _found(self, known: Identity, others: list[tuple[str, str]]) -> Identity:
        formed = Identity(group_id=self._host.random.uid(), id=known.id, name=known.name)
        expected = [Peer(name=name, address=address, learner=True, promote=True) for name, address in others]
        conf_state = ConfState(voters=[known.id])
        applied = Applied(
            index=FIRST_INDEX, term=FIRST_TERM, conf_state=conf_state, peers=[self._peer(known), *expected]
        )
        await self._keep(
            formed,
            seal(APPLIED_KEY, applied),
            seal(LOG_START_KEY, LogStart(index=FIRST_INDEX, term=FIRST_TERM)),
            seal(HARD_STATE_KEY, HardState(term=FIRST_TERM, commit=FIRST_INDEX)),
        )
        _LOG.info("member %s forms group %s", formed.name, formed.group_id)
        return formed

    async def _join(self, known: Identity, addresses: tuple[str, ...]) -> Identity:
        if not addresses:
            raise FailedPreconditionError(
                f"member {self._config.name!r} has an empty disk and knows no group: name its members, or one to join"
            )
        return await self._joined(known, await self._ask_any(addresses, self._peer(known)))

    def _peer(self, known: Identity) -> Peer:
        return Peer(id=known.id, name=known.name, address=self._config.reachable_address)

    async def _joined(self, known: Identity, answer: JoinResponse) -> Identity:
        joined = Identity(group_id=answer.group_id, id=known.id, name=known.name, peers=answer.peers)
        await self._keep(joined)
        _LOG.info("member %s joins group %s", joined.name, joined.group_id)
        return joined

    async def _ask_any(self, addresses: tuple[str, ...], peer: Peer) -> JoinResponse:
        """Asks one address after the other until a member takes this one in. Raises FailedPreconditionError at a
        refusal."""
        attempt = 0
        while True:
            address = addresses[attempt % len(addresses)]
            try:
                return await self._call(address, lambda stub: stub.Join(JoinRequest(peer=peer), timeout=CALL_S))
            except FailedPreconditionError:
                raise
            except RubeError as error:
                self._tell(attempt, f"to be taken in by {address}", error)
            attempt += 1
            await self._host.clock.sleep(RETRY_S)

    async def _patiently(
        self, name: str, address: str, ask: Callable[[MembersAsyncStub], Awaitable[Description]]
    ) -> Description:
        attempt = 0
        while True:
            try:
                return await self._call(address, ask)
            except RubeError as error:
                self._tell(attempt, f"for member {name} at {address}", error)
            attempt += 1
            await self._host.clock.sleep(RETRY_S)

    async def _call(self, address: str, ask: Callable[[MembersAsyncStub], Awaitable[_Answer]]) -> _Answer:
        channel = self._host.network.channel(address)
        try:
            return await ask(MembersStub(channel))
        except aio.AioRpcError as error:
            raise rube_error(error) from error
        finally:
            await channel.close(None)

    def _tell(self, attempt: int, what: str, error: RubeError) -> None:
        if attempt % TELL_EVERY == 0:
            _LOG.info("member %s waits %s: %s", self._config.name, what, error.message)

    async def _keep(self, identity: Identity, *more: Write) -> None:
        await self._engine.commit([Write(FORMAT_KEY, FORMAT), seal(IDENTITY_KEY, identity), *more])


def _check_free(described: Description, name: str, address: str, own: str) -> None:
    if described.group_id:
        raise FailedPreconditionError(
            f"member {described.name!r} at {address} belongs to group {described.group_id} already, and {own!r} has "
            f"an empty disk: if that was lost, run rube cluster remove {own} and rube cluster add there, and start it "
            f"with join={address}",
            member=own,
        )
    _check_name(described, name, address)


def _check_name(described: Description, name: str, address: str) -> None:
    if described.name != name:
        raise FailedPreconditionError(f"at {address} there is member {described.name!r}, not {name!r}: correct members")


def not_in_a_group(name: str) -> UnavailableError:
    """Returns the error of calls to a member that belongs to no group yet."""
    return NotDoneError(f"member {name!r} belongs to no group yet: try again")
