"""The command `rubelet`: one node's daemon."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import click
from click.core import ParameterSource

from rube import __version__
from rube.api.errors import InvalidArgumentError
from rube.api.keys import validate_name
from rube.cli.drivers import DRIVERS
from rube.cli.first_process import leave_first_process
from rube.cli.options import checked, log_level_option, servers_option
from rube.cli.tls import identity_tls, tls_options
from rube.console import main as run_program
from rube.host import ChannelTls

DEFAULT_POLICY = "/etc/rube/node-policy.textproto"
SYSTEM_UNIT_DIR = "/etc/systemd/system"


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
@click.option(
    "--controllers",
    metavar="NAMES",
    default="",
    callback=lambda _context, _option, text: tuple(name.strip() for name in text.split(",") if name.strip()),
    help="Node controllers of your own beside that of units, separated by commas: package.module:function.",
)
@click.option(
    "--policy",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="RUBELET_POLICY",
    help="What units may do here: an api.systemd.NodePolicy in text format, read again on SIGHUP and after a change.  "
    f"[default: {DEFAULT_POLICY} if it exists; else, where rubelet is root, no unit runs as root]",
)
@click.option("--adopt", is_flag=True, help="Take over a --data directory that is of another machine, which has gone.")
@click.option(
    "--new-identity",
    is_flag=True,
    help="Forget who a copied --data directory was, and be a new node; with another --node.",
)
@click.option("--purge", is_flag=True, help="Stop and remove all that this rubelet manages, then end.")
@tls_options
@log_level_option
@click.version_option(__version__, prog_name="rubelet")
def rubelet(
    servers: tuple[str, ...],
    node: str,
    data: Path,
    driver: str,
    bus: str,
    unit_dir: str,
    controllers: tuple[str, ...],
    policy: Path | None,
    adopt: bool,
    new_identity: bool,
    purge: bool,
    tls: ChannelTls | None,
    log_level: str,
) -> None:
    """Runs this node: keeps a copy of the units bound to it, runs them, reports their status.

    \b
    Examples:
      rubelet --server 10.0.0.1:7823 --node worker-1 --tls /etc/rube/node
      rubelet join rube1.…@10.0.0.1:7823
      rubelet --server 127.0.0.1:7823 --node worker-1 --data ~/rube/worker-1 --driver supervisor
      rubelet --data ~/rube/worker-1 --driver supervisor --purge
      rubelet --server 10.0.0.1:7823 --node worker-1 --controllers files:files

    With the apiserver away, also at boot, it goes on from its copy. SIGTERM ends the rubelet and leaves the units
    running; the next one adopts them. --data is no place for a directory that is cleaned up, such as /tmp.
    """
    from rube.cli.join import IDENTITY_DIRECTORY
    from rube.cli.joining import joined_servers
    from rube.cli.node import RubeletOptions, run_rubelet
    from rube.controllers.nodes import node_makers

    identity = data / IDENTITY_DIRECTORY
    if tls is None and not purge and (joined := joined_servers(identity)):
        tls = identity_tls(str(identity))
        source = click.get_current_context().get_parameter_source("servers")
        servers = joined if source is ParameterSource.DEFAULT else servers
    sys.path.append("")  # modules in the working directory are found, too
    try:
        makers = node_makers(controllers)
    except InvalidArgumentError as error:
        raise click.UsageError(f"--controllers: {error.message}") from error
    options = RubeletOptions(
        servers=servers,
        node=node,
        data=data,
        driver=driver,
        bus=bus,
        unit_dir=unit_dir,
        policy=policy,
        identity_policy="new" if new_identity else "adopt" if adopt else "keep",
        purge=purge,
        log_level=log_level,
        makers=makers,
        tls=tls,
    )
    sys.exit(run_rubelet(options))


def main() -> None:
    """Exit codes: 0, 1 for an error, 2 for wrong usage."""
    leave_first_process()
    if sys.argv[1:2] == ["join"]:
        from rube.cli.join import join_node

        sys.argv[0:2] = ["rubelet join"]
        run_program(join_node, "rubelet join")
    else:
        run_program(rubelet, "rubelet")


if __name__ == "__main__":
    main()
