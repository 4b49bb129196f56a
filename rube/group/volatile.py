"""Groups whose members lose their memory with their process: without a majority a group ends, and a new one is formed.

A process that starts again is a new member, with a new id: while the group can decide, its leader replaces the silent
member of that name by the newcomer (`Member.admit`). Once a majority of processes have started again, what they knew is
lost: none of the old ids can ever vote again. The remaining members find that out by asking, and fail with
GroupLostError; their owners open them again, empty, and together they form a group (`Founding`).

Nothing here depends on time: a member that is cut off or paused does not answer, and counts as one that may come back.
"""

from __future__ import annotations

import logging

from grpc import aio

from rube.api.errors import UnavailableError
from rube.group.core import Core
from rube.group.group_pb2 import DescribeRequest, Description, Peer

_LOG = logging.getLogger("rube.group")

CALL_S = 1.0


class GroupLostError(UnavailableError):
    """A majority of a volatile group has lost its memory: open the member again, on an empty engine."""


async def watch_for_loss(core: Core) -> None:
    """Checks every election timeout, while there is no leader, whether there can ever be one; fails the member if
    not."""
    while not core.termination.over:
        await core.sleep(core.config.election_s)
        if core.leader and core.reach.hears(core.leader):
            continue
        voters = [peer for peer in core.state.roster.peers if peer.id and not peer.learner]
        gone = [peer.name for peer in voters if await _is_gone(core, peer)]
        if voters and len(voters) - len(gone) < len(voters) // 2 + 1:
            group = core.identity.group_id
            core.termination.fail(
                GroupLostError(
                    f"group {group} is lost: of its {len(voters)} voters {', '.join(gone)} have started anew, without "
                    "their memory; it is formed again"
                )
            )


async def _is_gone(core: Core, peer: Peer) -> bool:
    """Returns whether another incarnation of that member answers, which is not in this very group.

    One that is in this group was admitted after the entries that this member knows: the group goes on without this
    member, and its newer members decide.
    """
    link = core.link(peer.id)
    if peer.id == core.identity.id or link is None:
        return False
    try:
        told: Description = await link.stub.Describe(DescribeRequest(), timeout=CALL_S)
    except aio.AioRpcError as error:
        _LOG.debug("member %s gets no answer from %s: %s", core.config.name, peer.name, error.details())
        return False
    return told.name == peer.name and told.id != peer.id and told.group_id != core.identity.group_id
