"""A client that keeps a copy with an informer of rube.client, so that the judges see what its handlers are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rube.api import Object
from rube.api.well_known import UNIT_TYPE
from rube.client import Change, Client, Informer, InformerConfig
from rube.host import Host
from rube.sim.judges import Content, Follower, History, Told


async def follow(name: str, host: Host, targets: Sequence[str], history: History, now_ns: Callable[[], int]) -> None:
    """Follows all units until cancelled."""
    follower = Follower(name, host.name, targets)
    history.followers.append(follower)

    def version(obj: Object | None) -> Content | None:
        return None if obj is None else history.contents.of(obj)

    def told(change: Change) -> None:
        follower.told.append(Told(now_ns(), str(change.key), version(change.old), version(change.new)))

    async with Client(host, targets) as client:
        informer = Informer(client, host, InformerConfig(type=UNIT_TYPE))
        informer.add_handler(told)
        await informer.run()
