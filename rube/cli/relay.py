"""`rube relay`."""

from __future__ import annotations

import asyncio
import sys

import click

from rube.cli.daemon import Stop, announce, run_daemon
from rube.cli.options import check_server, checked, log_level_option, parse_servers
from rube.cli.real_host import real_host
from rube.cli.tls import insecure_option, kept_renewed, refuse_exposure, tls_options
from rube.host import ChannelTls
from rube.server import ApiServerConfig
from rube.server.relay import Relay, RelayConfig
from rube.transport import ServerKind

DEFAULT_RELAY_ADDRESS = "127.0.0.1:7822"


@click.command()
@click.option(
    "--upstream",
    metavar="HOST:PORT",
    multiple=True,
    required=True,
    envvar="RUBE_UPSTREAM",
    callback=parse_servers,
    help="The apiserver to stand for; several that serve the same store with commas, or repeat it. A relay may stand "
    "for a relay.  [env: RUBE_UPSTREAM]",
)
@click.option(
    "--listen",
    metavar="ADDRESS",
    multiple=True,
    default=(DEFAULT_RELAY_ADDRESS,),
    show_default=True,
    callback=checked(check_server),
    help="HOST:PORT (port 0: any free one) or unix:/path; may be repeated.",
)
@click.option(
    "--grpc",
    "server_kind",
    type=click.Choice(["h2corn", "grpcio"]),
    default="h2corn",
    show_default=True,
    help="The server implementation. grpcio costs several times as much a call.",
)
@click.option(
    "--history",
    metavar="REVISIONS",
    type=click.IntRange(min=0),
    default=ApiServerConfig().history_revisions_max,
    show_default=True,
    help="How many revisions watches can resume from here; older ones are asked of upstream. 0: keep all.",
)
@tls_options
@insecure_option
@log_level_option
def relay(
    upstream: tuple[str, ...],
    listen: tuple[str, ...],
    server_kind: ServerKind,
    history: int,
    tls: ChannelTls | None,
    insecure: bool,
    log_level: str,
) -> None:
    """Serves reads and watches of many from one watch of an apiserver, and hands everything else on to it.

    \b
    Example, on a site's machine:
      rube relay --upstream api-1:7823,api-2:7823 --listen 10.1.0.1:7822 --tls /etc/rube/relay
      rubelet --server 10.1.0.1:7822 …
      ructl --server 10.1.0.1:7822 list -t Unit

    It keeps all objects in memory. While upstream is away, watches begin with what it has, and reads that take an older
    state (ructl get and list --stale) are answered from it and say how old it is. Writes, logs and history need it.
    SIGTERM stops it: watches end with UNAVAILABLE and resume elsewhere.
    """

    async def main(stop: Stop) -> None:
        host = real_host(server_kind=server_kind, tls=tls)
        refuse_exposure(listen, tls, insecure)
        limits = ApiServerConfig(listen=listen, history_revisions_max=history)
        server = Relay(host, RelayConfig(upstream=upstream, server=limits))
        addresses = await server.start()
        try:
            announce(f"rube relay: listening on {', '.join(addresses)}, for {', '.join(upstream)}")
            async with kept_renewed(host, tls), asyncio.TaskGroup() as group:
                running = group.create_task(server.run())
                await stop.wait()
                running.cancel()
        finally:
            await server.stop()

    sys.exit(run_daemon("rube relay", main, log_level=log_level))
