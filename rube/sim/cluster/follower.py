"""A client that keeps a copy with an informer of rube.client, so that the judges see what its handlers get."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from rube.api import ListRequest, Object
from rube.api.errors import RubeError
from rube.api.well_known import UNIT_TYPE
from rube.client import Change, Client, Informer, InformerConfig
from rube.host import Host
from rube.sim.judges import Content, Follower, History, Told

LIST_S = 2.0
_LOG = logging.getLogger("rube.sim")


async def follow(follower: Follower, host: Host, history: History, now_ns: Callable[[], int]) -> None:
    """Follows all units until cancelled, and lists one of them now and then."""
    history.followers.append(follower)

    def version(obj: Object | None) -> Content | None:
        return None if obj is None else history.contents.of(obj)

    def told(change: Change) -> None:
        follower.told.append(Told(now_ns(), str(change.key), version(change.old), version(change.new)))

    async with Client(host, follower.targets) as client, asyncio.TaskGroup() as group:
        informer = Informer(client, host, InformerConfig(type=UNIT_TYPE))
        informer.add_handler(told)
        group.create_task(informer.run())
        group.create_task(_list(client, host))


async def _list(client: Client, host: Host) -> None:
    while True:
        try:
            await client.list_page(ListRequest(type=UNIT_TYPE, page_size=1))
        except RubeError as error:
            _LOG.info("%s: a list failed: %s", host.name, error)
        await host.clock.sleep(LIST_S)
