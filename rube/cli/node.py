"""The code of the command `rubelet`, loaded by a rubelet and by no help page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rube.api.errors import FailedPreconditionError
from rube.cli.daemon import Stop, announce, end_task, run_daemon
from rube.cli.drivers import choose_driver, make_driver
from rube.cli.lines import say
from rube.cli.node_policy import PolicyFile
from rube.cli.options import make_data_directory
from rube.cli.real_host import real_host
from rube.cli.tls import kept_renewed
from rube.controllers.config import NodeController
from rube.controllers.nodes import Maker, NodeContext, make_node_controllers
from rube.host import ChannelTls, Host
from rube.rubelet import Rubelet, RubeletConfig, purge_node
from rube.rubelet.identity import IdentityPolicy
from rube.store.engines.sqlite_lock import lock_file, place_of
from rube.units.boot import boot_identity
from rube.units.node_controller import unit_node_controller
from rube.units.policy import PolicyGate

SOCKET_NAME = "rubelet.sock"
STORE_NAME: Final = "rubelet.db"
MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True, kw_only=True)
class RubeletOptions:
    """The command line, in the words of its options."""

    servers: tuple[str, ...]
    node: str
    data: Path
    driver: str
    bus: str
    unit_dir: str
    identity_policy: IdentityPolicy
    purge: bool
    log_level: str
    tls: ChannelTls | None = None
    policy: Path | None = None
    """The node's policy; None: DEFAULT_POLICY, if it is there."""
    makers: Sequence[Maker] = ()
    """Those of node controllers beside that of units."""


def run_rubelet(options: RubeletOptions) -> int:
    """Runs the node, or removes its units; returns the exit code."""

    async def main(stop: Stop) -> None:
        data = options.data
        make_data_directory(data)
        host = real_host(tls=options.tls)
        kind = choose_driver(options.driver)
        units_driver = make_driver(kind, host, data, bus=options.bus, unit_dir=options.unit_dir)
        boot_id = boot_identity()
        policy = PolicyFile(options.policy)
        gate = PolicyGate() if options.purge else policy.open()
        units = unit_node_controller(
            node=options.node, boot_id=boot_id, driver=units_driver, driver_name=kind, clock=host.clock, gate=gate
        )
        controllers = [units]
        try:
            context = NodeContext(node=options.node, boot_id=boot_id, host=host, data=data.absolute())
            controllers += make_node_controllers(options.makers, context)
            if options.purge:
                with alone(data):
                    await remove_things(host, controllers)
            else:
                config = config_of(options.servers, options.node, data, boot_id, options.identity_policy)
                instance: list[str] = []
                config = replace(config, problems=[lambda: gate.problem], identified=instance.append)
                renewed = kept_renewed(host, options.tls, lambda: instance[0] if instance else "")
                async with policy.followed(host.clock), renewed:
                    await run_node(host, controllers, stop, config)
        finally:
            for one in controllers:
                await one.driver.close()

    return run_daemon("rubelet", main, log_level=options.log_level, managed=not options.purge)


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
    """Keeps rubelets off this data directory meanwhile: one would bring back what is removed.

    Raises FailedPreconditionError while one runs. Needs nothing of the local store, which may be damaged.
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


async def run_node(host: Host, controllers: Sequence[NodeController], stop: Stop, config: RubeletConfig) -> None:
    drivers = ", ".join(one.driver_name for one in controllers)

    def ready() -> None:
        announce(f"rubelet: node {config.node} listening on {config.listen}, driver {drivers}")

    running = asyncio.create_task(Rubelet(host, config, controllers).run(ready))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await end_task(running)


async def remove_things(host: Host, controllers: Sequence[NodeController]) -> None:
    """Raises FailedPreconditionError that names the units, and the things of other controllers, which stayed, and
    why."""
    purged = await purge_node(host, controllers)
    removed = f"{purged.removed} {'units' if len(controllers) == 1 else 'things'} removed"
    if purged.left:
        said = "; ".join(f"{name} ({why})" if why else name for (_, name), why in purged.left.items())
        raise FailedPreconditionError(f"{removed}, and these are still there: {said}")
    say(f"rubelet: {removed}")
