"""What a member answers to others: Raft's messages, snapshots, questions, and changes of the group."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from grpc import aio

from rube.api.errors import NotDoneError, RubeError, UnavailableError
from rube.group.bootstrap import not_in_a_group
from rube.group.group_pb2 import (
    Batch,
    ChangeRequest,
    ChangeResponse,
    DescribeRequest,
    Description,
    Installed,
    JoinRequest,
    JoinResponse,
    Piece,
    Subscription,
)
from rube.group.group_pb2_grpc import MembersServicer
from rube.group.halting import RemovedError
from rube.group.membership import NotLeadingError
from rube.group.peers import StrangerError
from rube.transport import rube_error

if TYPE_CHECKING:
    from rube.group.group_pb2_grpc import MembersAsyncStub

_Answer = TypeVar("_Answer")
Context = aio.ServicerContext[Any, Any]

# A change waits for a quorum at the leader; who passes it on waits a little longer.
FORWARD_S = 10.0
# A call is answered by the leader; while leaders change, so many members are tried as one.
LEADERS_MAX = 3


class Served(Protocol):
    """What the service needs of its member."""

    @property
    def group_id(self) -> str: ...

    @property
    def id(self) -> int: ...

    @property
    def removed(self) -> Sequence[int]:
        """Ids of removed members, once they are to be told."""
        ...

    def batches(self, subscriber: int, address: str, incarnation: int) -> AsyncGenerator[Batch]: ...

    async def stage(self, piece: Piece) -> int: ...

    def describe(self) -> Description: ...

    def leader_stub(self) -> MembersAsyncStub | None:
        """The way to the leader; None: this member leads. Raises UnavailableError when none is known."""
        ...

    async def admit(self, request: JoinRequest) -> JoinResponse: ...

    async def change(self, request: ChangeRequest) -> ChangeResponse: ...


class MembersService(MembersServicer):
    """Answers from the start on; `member` comes once it belongs to a group."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.member: Served | None = None

    def Subscribe(self, request: Subscription, context: Context) -> AsyncGenerator[Batch]:
        member = self._check(request.group_id, request.subscriber, request.sender)
        return member.batches(request.subscriber, request.address, request.incarnation)

    async def Install(self, request: Piece, context: Context) -> Installed:
        member = self._check(request.group_id, request.sender, request.to)
        return Installed(pairs=await member.stage(request))

    async def Describe(self, request: DescribeRequest, context: Context) -> Description:
        return Description(name=self._name) if self.member is None else self.member.describe()

    async def Join(self, request: JoinRequest, context: Context) -> JoinResponse:
        member = self._member()
        return await _at_leader(
            member, lambda: member.admit(request), lambda stub: stub.Join(request, timeout=FORWARD_S)
        )

    async def Change(self, request: ChangeRequest, context: Context) -> ChangeResponse:
        member = self._member()
        return await _at_leader(
            member, lambda: member.change(request), lambda stub: stub.Change(request, timeout=FORWARD_S)
        )

    def _member(self) -> Served:
        if self.member is None:
            raise not_in_a_group(self._name)
        return self.member

    def _check(self, group_id: str, sender: int, to: int) -> Served:
        """Who does not belong together never speaks together."""
        member = self._member()
        if group_id != member.group_id or to != member.id:
            raise StrangerError(
                f"this is member {self._name!r}, {member.id:x} of group {member.group_id}; the call is for member "
                f"{to:x} of group {group_id}: was a disk wiped, or an address used again?"
            )
        if sender in member.removed:
            raise RemovedError(f"member {sender:x} was removed from group {group_id}", removed=f"{sender:x}")
        return member


async def _at_leader(
    member: Served, here: Callable[[], Awaitable[_Answer]], there: Callable[[MembersAsyncStub], Awaitable[_Answer]]
) -> _Answer:
    """The leader's answer; if this one loses the leadership before anything is done, the next leader's."""
    lost: NotLeadingError | None = None
    for _ in range(LEADERS_MAX):
        stub = member.leader_stub()
        try:
            return await here() if stub is None else await there(stub)
        except NotLeadingError as error:
            lost = error
        except aio.AioRpcError as error:
            raise _told_by_leader(rube_error(error)) from error
    assert lost is not None, "the last attempt was made"
    raise lost


def _told_by_leader(error: RubeError) -> RubeError:
    """What does not say that nothing was done may have been done: an answer may be lost, too."""
    if error.code != UnavailableError.code:
        return error
    message = f"the leader: {error.message}"
    if isinstance(error, NotDoneError):
        return NotDoneError(message, **error.metadata)
    return UnavailableError(message, **{**error.metadata, "unknown": "true"})
