"""The command `rubelet`: one node's daemon."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from rube import __version__
from rube.api.errors import FailedPreconditionError
from rube.api.keys import validate_name
from rube.cli.daemon import Stop, announce, end_task, run_daemon
from rube.cli.drivers import DRIVERS, choose_driver, make_driver
from rube.cli.first_process import leave_first_process
from rube.cli.options import checked, log_level_option, make_data_directory, servers_option
from rube.cli.real_host import real_host
from rube.console import main as run_program
from rube.controllers.config import NodeController
from rube.host import Host
from rube.rubelet import Rubelet, RubeletConfig, purge_node
from rube.rubelet.identity import IdentityPolicy
from rube.store.engines.sqlite_lock import lock_file, place_of
from rube.units.boot import boot_identity
from rube.units.node_controller import unit_node_controller

SYSTEM_UNIT_DIR = "/etc/systemd/system"
SOCKET_NAME = "rubelet.sock"
STORE_NAME: Final = "rubelet.db"
MACHINE_ID = Path("/etc/machine-id")


def default_node() -> str:
    """This machine's host name, as far as its first dot, as a DNS label."""
    return platform.node().partition(".")[0].lower() or "localhost"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@servers_option
@click.option(
    "--node",
    metavar="NAME",
    default=default_node,
    show_default="the host name",
    callback=checked(lambda name: validate_name("node", name)),
    help="This node's name.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/rube"),
    show_default=True,
    help="Where the node keeps its copy; its socket, for ructl --node-socket, is rubelet.sock in there.",
)
@click.option(
    "--driver",
    type=click.Choice(DRIVERS),
    default="auto",
    show_default=True,
    help="What runs the units; auto: systemd where this machine has it and rubelet is root, else its own supervisor.",
)
@click.option(
    "--bus", metavar="ADDRESS", default="", help="systemd's D-Bus, such as unix:path=…  [default: the system bus]"
)
@click.option("--unit-dir", metavar="DIR", default=SYSTEM_UNIT_DIR, show_default=True, help="For systemd's unit files.")
@click.option("--adopt", is_flag=True, help="Take over a --data directory that is of another machine, which has gone.")
@click.option(
    "--new-identity",
    is_flag=True,
    help="Forget who a copied --data directory was, and be a new node; with another --node.",
)
@click.option("--purge", is_flag=True, help="Stop and remove every unit that this rubelet manages, then end.")
@log_level_option
@click.version_option(__version__, prog_name="rubelet")
def rubelet(
    servers: tuple[str, ...],
    node: str,
    data: Path,
    driver: str,
    bus: str,
    unit_dir: str,
    adopt: bool,
    new_identity: bool,
    purge: bool,
    log_level: str,
) -> None:
    """Run this node: keep a copy of the units bound to it, make them true, report their status.

    \b
    Examples:
      rubelet --server 10.0.0.1:7823 --node worker-1
      rubelet --server 127.0.0.1:7823 --node worker-1 --data ~/rube/worker-1 --driver supervisor
      rubelet --data ~/rube/worker-1 --driver supervisor --purge

    With the apiserver away, also at boot, it goes on from its copy. SIGTERM ends the rubelet and leaves the units
    running; the next one adopts them. --data is no place for a directory that is cleaned up, such as /tmp.
    """

    async def main(stop: Stop) -> None:
        make_data_directory(data)
        host = real_host()
        kind = choose_driver(driver)
        units_driver = make_driver(kind, host, data, bus=bus, unit_dir=unit_dir)
        boot_id = boot_identity()
        units = unit_node_controller(
            node=node, boot_id=boot_id, driver=units_driver, driver_name=kind, clock=host.clock
        )
        try:
            if purge:
                with alone(data):
                    await remove_units(host, units)
            else:
                policy: IdentityPolicy = "new" if new_identity else "adopt" if adopt else "keep"
                await run_node(host, units, stop, config_of(servers, node, data, boot_id, policy))
        finally:
            await units_driver.close()

    sys.exit(run_daemon("rubelet", main, log_level=log_level))


def machine_id() -> str:
    """This machine's identity (machine-id(5)); empty where it has none, as some containers have not."""
    try:
        return MACHINE_ID.read_text().strip()
    except OSError:
        return ""


def config_of(servers: tuple[str, ...], node: str, data: Path, boot_id: str, policy: IdentityPolicy) -> RubeletConfig:
    return RubeletConfig(
        machine_id=machine_id(),
        identity_policy=policy,
        node=node,
        servers=servers,
        data_url=f"sqlite:///{data.absolute() / STORE_NAME}",
        boot_id=boot_id,
        listen=f"unix:{data.absolute() / SOCKET_NAME}",
    )


@contextmanager
def alone(data: Path) -> Iterator[None]:
    """No rubelet runs on this data directory meanwhile: it would bring back what is removed.

    Raises FailedPreconditionError while one does. Needs nothing of the local store, which may be damaged.
    """
    store = data / STORE_NAME
    if not store.exists():
        yield
        return
    lock = lock_file(place_of(store))
    try:
        yield
    finally:
        lock.release()


async def run_node(host: Host, units: NodeController, stop: Stop, config: RubeletConfig) -> None:
    def ready() -> None:
        announce(f"rubelet: node {config.node} listening on {config.listen}, driver {units.driver_name}")

    running = asyncio.create_task(Rubelet(host, config, [units]).run(ready))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await end_task(running)


async def remove_units(host: Host, controller: NodeController) -> None:
    """Raises FailedPreconditionError that names the units which stayed, and why."""
    purged = await purge_node(host, [controller])
    removed = f"{purged.removed} units removed"
    if purged.left:
        said = "; ".join(f"{name} ({why})" if why else name for name, why in purged.left.items())
        raise FailedPreconditionError(f"{removed}, and these are still there: {said}")
    announce(f"rubelet: {removed}")


def main() -> None:
    """Exit codes: 0, 1 for an error, 2 for wrong usage."""
    leave_first_process()
    run_program(rubelet, "rubelet")


if __name__ == "__main__":
    main()
