"""Stops and removes everything that node controllers manage on this machine, with no object and no apiserver asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from rube.api import Action
from rube.api.errors import RubeError
from rube.api.types import pack
from rube.controllers.config import NodeController
from rube.host import Host

PURGE_S_MAX = 200.0
PURGE_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Purged:
    """The outcome on one machine."""

    removed: int
    """The number of things that are gone."""
    left: dict[tuple[str, str], str]
    """The reason, which may be empty, for each thing that is still there, by the type of its objects and its name."""


async def purge_node(host: Host, controllers: Sequence[NodeController]) -> Purged:
    """Removes all things at the same time; takes at most PURGE_S_MAX. Raises what a driver's `list` raises."""
    removed, left = 0, dict[tuple[str, str], str]()
    for purged in await asyncio.gather(*(_purge(host, one) for one in controllers)):
        removed += purged.removed
        left |= purged.left
    return Purged(removed, left)


async def _purge(host: Host, controller: NodeController) -> Purged:
    kind, names = controller.controller.type, await controller.driver.list()
    errors = dict(zip(names, await asyncio.gather(*(_remove(host, controller, name) for name in names)), strict=True))
    left = await controller.driver.list()
    return Purged(len(set(names) - set(left)), {(kind, name): errors.get(name, "") for name in left})


async def _remove(host: Host, controller: NodeController, name: str) -> str:
    """Returns when the thing is gone, with "", or why it is not: at the latest after PURGE_S_MAX."""
    action = Action(id=host.random.uid(), action=pack(controller.removal(name)))
    try:
        async with host.clock.timeout(PURGE_S_MAX):
            while await controller.driver.apply(action):
                await host.clock.sleep(PURGE_POLL_S)
    except TimeoutError:
        return f"it has not stopped in {PURGE_S_MAX:.0f} s"
    except RubeError as error:
        return error.message
    return ""
