"""The gRPC service of a member: Raft's messages, snapshots, questions, and changes of the group."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from grpc import aio

from rube.api.errors import NotDoneError, PermissionDeniedError, RubeError, UnavailableError
from rube.api.well_known import ADMINS
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
from rube.group.membership import NotLeadingError
from rube.group.peers import StrangerError
from rube.group.termination import RemovedError
from rube.transport import peer, rube_error

if TYPE_CHECKING:
    from rube.group.group_pb2_grpc import MembersAsyncStub

_Answer = TypeVar("_Answer")
Context = aio.ServicerContext[Any, Any]

FORWARD_S = 10.0
"""A change waits for a quorum at the leader; the member that passes it on waits so much longer."""
LEADERS_MAX = 3
"""The leader answers a call; while leaders change, at most so many members are tried."""


class Served(Protocol):
    """The part of a member that the service uses."""

    @property
    def group_id(self) -> str: ...

    @property
    def id(self) -> int: ...

    @property
    def removed(self) -> Sequence[int]:
        """Ids of removed members, once their calls are to be refused."""
        ...

    def batches(self, subscriber: int, address: str, incarnation: int) -> AsyncGenerator[Batch]: ...

    async def stage(self, piece: Piece) -> int: ...

    def describe(self) -> Description: ...

    def leader_stub(self) -> MembersAsyncStub | None:
        """Returns a stub of the leader; None if this member leads. Raises UnavailableError when no leader is known."""
        ...

    async def admit(self, request: JoinRequest) -> JoinResponse: ...

    async def change(self, request: ChangeRequest) -> ChangeResponse: ...


class MembersService(MembersServicer):
    """The service. It answers from the start on; `member` is set once the member belongs to a group.

    A caller with a certificate is one of the members' kind, or an administrator where `rube cluster` calls.
    """

    def __init__(self, name: str, certified_kind: str) -> None:
        self._name = name
        self._certified_kind = certified_kind
        self.member: Served | None = None

    def Subscribe(self, request: Subscription, context: Context) -> AsyncGenerator[Batch]:
        self._permit(context)
        member = self._check(request.group_id, request.subscriber, request.sender)
        return member.batches(request.subscriber, request.address, request.incarnation)

    async def Install(self, request: Piece, context: Context) -> Installed:
        self._permit(context)
        member = self._check(request.group_id, request.sender, request.to)
        return Installed(pairs=await member.stage(request))

    async def Describe(self, request: DescribeRequest, context: Context) -> Description:
        self._permit(context, admins=True)
        return Description(name=self._name) if self.member is None else self.member.describe()

    async def Join(self, request: JoinRequest, context: Context) -> JoinResponse:
        self._permit(context)
        member = self._member()
        return await _at_leader(
            member, lambda: member.admit(request), lambda stub: stub.Join(request, timeout=FORWARD_S)
        )

    async def Change(self, request: ChangeRequest, context: Context) -> ChangeResponse:
        self._permit(context, admins=True)
        member = self._member()
        return await _at_leader(
            member, lambda: member.change(request), lambda stub: stub.Change(request, timeout=FORWARD_S)
        )

    def _permit(self, context: Context, *, admins: bool = False) -> None:
        """Raises PermissionDeniedError for a certificate that may not make this call. In plain text all callers may:
        nothing tells one from another."""
        caller, kind = peer(context), self._certified_kind
        if not caller.fingerprint or caller.kind == kind:
            return
        if admins and caller.kind == "user" and ADMINS in caller.groups:
            return
        subject = f"{caller.kind}/{caller.name}" if caller.kind else "a certificate without an identity of Rube's"
        others = f", or of a user of the group {ADMINS!r}" if admins else ""
        raise PermissionDeniedError(
            f"{subject} may not make this call of member {self._name!r} of a group: call with a certificate of "
            f"{kind}/NAME{others}",
            subject=subject,
        )

    def _member(self) -> Served:
        if self.member is None:
            raise not_in_a_group(self._name)
        return self.member

    def _check(self, group_id: str, sender: int, to: int) -> Served:
        """Returns the member. Raises an error if the call is for another member, another group, or from a removed
        member."""
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
    """Returns the leader's answer; the next leader's if this one loses the leadership before anything is done."""
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
    """Returns the error with metadata `unknown`, unless it says that nothing was done: an answer may be lost too."""
    if error.code != UnavailableError.code:
        return error
    message = f"the leader: {error.message}"
    if isinstance(error, NotDoneError):
        return NotDoneError(message, **error.metadata)
    return UnavailableError(message, **{**error.metadata, "unknown": "true"})
