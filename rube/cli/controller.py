"""`rube controller`, and how the apiserver runs the same controllers beside itself."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from rube.api.errors import InvalidArgumentError, RubeError
from rube.cli.daemon import Stop, announce, describe, end_task, is_expected, run_daemon
from rube.cli.options import log_level_option, make_data_directory, servers_option
from rube.cli.real_host import real_host
from rube.client import Client
from rube.controllers.cluster.catalog import CLUSTER_CONTROLLERS, make_controllers
from rube.controllers.cluster.controllers import ClusterControllers, ClusterControllersConfig
from rube.host import Host

_LOG = logging.getLogger("rube.controller")
RESTART_S = 5.0
F = TypeVar("F", bound=Callable[..., Any])


def controllers_option(command: F) -> F:
    return click.option(
        "--controllers",
        metavar="NAMES",
        default=",".join(CLUSTER_CONTROLLERS),
        show_default=True,
        callback=lambda _context, _option, text: tuple(name.strip() for name in text.split(",") if name.strip()),
        help="The cluster controllers to run, separated by commas; '' for none; package.module:Name for your own.",
    )(command)


def check_controllers(names: Sequence[str]) -> None:
    """Raises click.UsageError for what is no controller. Modules in the working directory are found, too."""
    sys.path.append("")
    try:
        make_controllers(names)
    except InvalidArgumentError as error:
        raise click.UsageError(f"--controllers: {error.message}") from error


def controllers_url(data: str | None, store_url: str = "") -> str:
    """The engine for the controllers' memory: in `data`, beside a SQLite or RocksDB store, or nowhere but in memory."""
    if data is not None:
        return f"sqlite:///{Path(data).absolute() / 'controllers.db'}"
    if store_url.startswith("sqlite:"):
        return f"{store_url.removesuffix('.db')}.controllers.db"
    if store_url.startswith("rocksdb:"):
        return f"{store_url.rstrip('/')}.controllers"
    return "memory:"


async def keep_controllers(host: Host, servers: Sequence[str], memory_url: str, names: Sequence[str]) -> None:
    """Runs the controllers until cancelled; what ends them is logged, and they are started again."""
    while names:
        try:
            await run_controllers(host, servers, memory_url, names)
        except (RubeError, ExceptionGroup) as error:
            trace = None if is_expected(error) else error
            _LOG.error("the controllers start again in %.0f s: %s", RESTART_S, describe(error), exc_info=trace)
        await host.clock.sleep(RESTART_S)


async def run_controllers(host: Host, servers: Sequence[str], memory_url: str, names: Sequence[str]) -> None:
    """Runs the controllers until cancelled. Raises what no retry can help."""
    engine = await host.storage.open(memory_url)
    try:
        async with Client(host, servers) as client:
            await ClusterControllers(host, client, engine, ClusterControllersConfig(names=names)).run()
    finally:
        await engine.close()


@click.command()
@servers_option
@click.option("--data", metavar="DIR", default=".", show_default=True, help="Where they keep memory and outbox.")
@controllers_option
@log_level_option
def controller(servers: tuple[str, ...], data: str, controllers: tuple[str, ...], log_level: str) -> None:
    """Run the cluster controllers alone.

    `rube apiserver` runs them by default; run them alone to have several, of which the elected one acts.

    \b
    Example:
      rube apiserver --controllers '' &
      rube controller --server 127.0.0.1:7823 --data /var/lib/rube/controller
      rube controller --data /var/lib/agents --controllers agents:Agents

    The last runs a controller of your own, from ./agents.py or an installed package (docs/controllers.md).
    """

    async def main(stop: Stop) -> None:
        make_data_directory(Path(data))
        running = asyncio.create_task(keep_controllers(real_host(), servers, controllers_url(data), controllers))
        announce(f"rube controller: running {', '.join(controllers)} for {', '.join(servers)}")
        await stop.wait()
        await end_task(running)

    check_controllers(controllers)
    sys.exit(run_daemon("rube controller", main, log_level=log_level))
