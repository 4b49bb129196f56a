"""A process of hollow nodes: `python -m rube.cli.fleet.nodes SERVER FIRST COUNT`.

It writes a line for each unit that a node has been given: the node, the unit's generation, and the monotonic clock in
nanoseconds, which is the machine's.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time  # noqa: TID251 (the bench measures this machine)

from rube.api import UnitAction
from rube.api.errors import RubeError
from rube.cli.fleet.hollow import hollow_rubelet, node_name
from rube.cli.open_files import raise_files_limit
from rube.cli.real_host import real_host

STARTS_PER_S = 200
"""The pace at which nodes come."""
_LOG = logging.getLogger("rube.cli")


def _tell(node: str, action: UnitAction) -> None:
    if action.HasField("ensure"):
        sys.stdout.write(f"{node} {action.ensure.generation} {time.monotonic_ns()}\n")


async def run(server: str, first: int, count: int) -> None:
    """Runs the nodes until cancelled. A node that ends is logged, and the others go on."""
    host = real_host()

    async def live(node: str) -> None:
        try:
            await hollow_rubelet(host, node, server, _tell).run()
        except RubeError as error:
            _LOG.error("%s ended: %s", node, error.message)

    async def flush() -> None:
        while True:
            await asyncio.sleep(0.05)
            sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        group.create_task(flush())
        for number in range(first, first + count):
            group.create_task(live(node_name(number)))
            await asyncio.sleep(1 / STARTS_PER_S)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    raise_files_limit()
    server, first, count = sys.argv[1:]
    asyncio.run(run(server, int(first), int(count)))


if __name__ == "__main__":
    main()
