"""Members whose engine forgets all with their process: a group that has lost its majority ends, and another is formed.

A process that starts again is another member, with an id of its own: while the group can decide, its leader puts the
newcomer in place of the silent member of that name (`Member.admit`). What a majority knew is gone for good once so
many processes have started anew: none of the old ids can ever vote again. Who is left over finds out by asking, and
ends with GroupLostError; its owner opens it again, empty, and the fresh ones form a group (`Founding`).

Nothing here rests on time: a member that is cut off or paused is asked in vain, and counts as one that may come back.
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
    """While no leader is heard of: looks, every election timeout, whether there can ever be one; fails the member if
    not."""
    while not core.ending.over:
        await core.sleep(core.config.election_s)
        if core.leader and core.hears(core.leader):
            continue
        voters = [peer for peer in core.state.roster.peers if peer.id and not peer.learner]
        gone = [peer.name for peer in voters if await _is_gone(core, peer)]
        if voters and len(voters) - len(gone) < len(voters) // 2 + 1:
            group = core.identity.group_id
            core.ending.fail(
                GroupLostError(
                    f"group {group} is lost: of its {len(voters)} voters {', '.join(gone)} have started anew, without "
                    "their memory; it is formed again"
                )
            )


async def _is_gone(core: Core, peer: Peer) -> bool:
    """Whether another incarnation of that member answers. One that is in this very group was taken in after what this
    member knows: the group went on without this member, and the newer ones will judge."""
    link = core.link(peer.id)
    if peer.id == core.identity.id or link is None:
        return False
    try:
        told: Description = await link.stub.Describe(DescribeRequest(), timeout=CALL_S)
    except aio.AioRpcError as error:
        _LOG.debug("member %s asks %s in vain: %s", core.config.name, peer.name, error.details())
        return False
    return told.name == peer.name and told.id != peer.id and told.group_id != core.identity.group_id
