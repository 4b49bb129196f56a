"""`rube controller`, and how the apiserver runs the same controllers beside itself."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from rube.api.addresses import check_host_port
from rube.api.errors import InvalidArgumentError, RubeError
from rube.cli.daemon import Stop, announce, describe, end_task, is_expected, run_daemon
from rube.cli.decisions import Recorder
from rube.cli.options import checked, log_level_option, make_data_directory, servers_option
from rube.cli.real_host import real_host
from rube.cli.tls import insecure_option, kept_renewed, refuse_exposure, tls_options
from rube.client import Client
from rube.controllers.cluster.catalog import CLUSTER_CONTROLLERS, make_controllers
from rube.controllers.cluster.controllers import ClusterControllers, ClusterControllersConfig
from rube.controllers.cluster.garbage import EVENT_TTL_S
from rube.controllers.config import observe_nothing
from rube.controllers.replicated import ReplicatedConfig, ReplicatedControllers
from rube.group import MemberConfig
from rube.host import ChannelTls, Host

_LOG = logging.getLogger("rube.controller")
RESTART_S = 5.0
TICK_S = 0.1
"""Ticks of replicas: an election takes 8 to 16."""
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


def event_ttl_option(command: F) -> F:
    return click.option(
        "--event-ttl",
        "event_ttl_s",
        metavar="SECONDS",
        type=click.IntRange(min=1),
        default=round(EVENT_TTL_S),
        show_default=True,
        help="How long an event is kept after it happened last; the garbage collector deletes it then.",
    )(command)


def check_controllers(names: Sequence[str]) -> None:
    """Raises click.UsageError for an object that is no controller. Modules in the working directory are found, too."""
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


async def keep_controllers(
    host: Host, servers: Sequence[str], memory_url: str, config: ClusterControllersConfig
) -> None:
    """Runs the controllers until cancelled. An error that ends them is logged, and they are started again."""
    while config.names:
        try:
            await run_controllers(host, servers, memory_url, config)
        except (RubeError, ExceptionGroup) as error:
            trace = None if is_expected(error) else error
            _LOG.error("the controllers start again in %.0f s: %s", RESTART_S, describe(error), exc_info=trace)
        await host.clock.sleep(RESTART_S)


async def run_controllers(
    host: Host, servers: Sequence[str], memory_url: str, config: ClusterControllersConfig
) -> None:
    """Runs the controllers until cancelled. Raises what no retry can help."""
    engine = await host.storage.open(memory_url)
    try:
        async with Client(host, servers) as client:
            await ClusterControllers(host, client, engine, config).run()
    finally:
        await engine.close()


async def run_replicated(host: Host, servers: Sequence[str], config: ReplicatedConfig) -> None:
    """Takes part in the group until cancelled. Raises what no retry can help."""
    async with Client(host, servers) as client:
        await ReplicatedControllers(host, client, config).run()


def recorder(directory: str) -> Recorder:
    """Returns what records decisions. Raises click.UsageError for a directory that cannot be made."""
    try:
        return Recorder(Path(directory))
    except OSError as error:
        raise click.UsageError(f"--record: cannot make {directory}: {error.strerror}") from error


def _replicas(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[tuple[str, str], ...] | None:
    """`a=HOST:PORT,b=…`, as pairs."""
    if text is None:
        return None
    pairs = [tuple(part.strip().partition("=")[::2]) for part in text.split(",")]
    for name, address in pairs:
        if not name or not address:
            raise click.BadParameter("write a=HOST:PORT,b=HOST:PORT,c=HOST:PORT", context, parameter)
        checked(check_host_port)(context, parameter, address)
    return tuple((name, address) for name, address in pairs)


def replicated_config(
    name: str, replicas: tuple[tuple[str, str], ...], data: str | None, controllers: ClusterControllersConfig
) -> ReplicatedConfig:
    """Returns the configuration. Raises InvalidArgumentError for a name that no replica has."""
    member = MemberConfig(
        name=name,
        listen=dict(replicas).get(name, ""),
        members=replicas,
        tick_s=TICK_S,
        volatile=data is None,
        certified_kind="controller",
    )
    return ReplicatedConfig(
        member=member,
        engine_url="memory:" if data is None else controllers_url(data),
        controllers=controllers,
    )


@click.command()
@servers_option
@click.option(
    "--data",
    metavar="DIR",
    help="Where they keep memory and outbox.  [default: .; with --replicas: in memory alone]",
)
@controllers_option
@event_ttl_option
@click.option(
    "--replicas",
    metavar="NAMES",
    callback=_replicas,
    help="All that share the memory, and where each listens for the others: a=HOST:PORT,b=HOST:PORT,c=HOST:PORT.",
)
@click.option("--name", metavar="NAME", help="Which of the replicas this is.")
@click.option(
    "--record",
    metavar="DIR",
    help="Append each decision, and the state that it was made on, to files in DIR, for `rube replay`.",
)
@tls_options
@insecure_option
@log_level_option
def controller(
    servers: tuple[str, ...],
    data: str | None,
    controllers: tuple[str, ...],
    event_ttl_s: int,
    replicas: tuple[tuple[str, str], ...] | None,
    name: str | None,
    record: str | None,
    tls: ChannelTls | None,
    insecure: bool,
    log_level: str,
) -> None:
    """Runs the cluster controllers alone.

    `rube apiserver` runs them by default; run them alone to have several, of which the elected one acts.

    \b
    Example:
      rube apiserver --controllers '' &
      rube controller --server 127.0.0.1:7823 --data /var/lib/rube-controllers
      rube controller --data /var/lib/rube-agents --controllers agents:Agents

    The last runs a controller of your own, from ./agents.py or an installed package.

    With --replicas the processes are a Raft group: a majority knows a leader's decision before the leader acts, and
    when it dies another one goes on within two seconds. Start one for each name; `rube cluster members` shows them.

    \b
      rube controller --name a --replicas a=10.0.0.1:7825,b=10.0.0.2:7825,c=10.0.0.3:7825
    """
    if (name is None) != (replicas is None):
        raise click.UsageError("--name and --replicas go together: give both, or none")
    check_controllers(controllers)
    observer = observe_nothing if record is None else recorder(record)
    wanted = ClusterControllersConfig(names=controllers, event_ttl_s=event_ttl_s, observer=observer)
    config = None
    if name is not None and replicas is not None:
        try:
            config = replicated_config(name, replicas, data, wanted)
        except InvalidArgumentError as error:
            raise click.UsageError(f"--replicas: {error.message}") from error

    async def main(stop: Stop) -> None:
        host = real_host(tls=tls)
        refuse_exposure([config.member.listen] if config is not None else [], tls, insecure)
        if config is None or data is not None:
            make_data_directory(Path(data or "."))
        async with kept_renewed(host, tls):
            await run(host, stop)

    async def run(host: Host, stop: Stop) -> None:
        if config is None:
            running = asyncio.create_task(keep_controllers(host, servers, controllers_url(data or "."), wanted))
            announce(f"rube controller: running {', '.join(controllers)} for {', '.join(servers)}")
            await stop.wait()
        else:
            running = asyncio.create_task(run_replicated(host, servers, config))
            announce(f"rube controller: replica {name} at {config.member.listen}, for {', '.join(servers)}")
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        await end_task(running)

    sys.exit(run_daemon("rube controller", main, log_level=log_level))
