"""The command `rube`: daemons, a development cluster, the simulator. A command is imported when it is used."""

from __future__ import annotations

import click

from rube import __version__
from rube.cli.first_process import leave_first_process
from rube.console import LazyCommand, LazyGroup
from rube.console import main as run_program

_COMMANDS = {
    "apiserver": LazyCommand("rube.cli.apiserver", "apiserver", "Serve the API over a store."),
    "audit": LazyCommand("rube.cli.audit", "audit", "Judge the files of an audit log."),
    "bench": LazyCommand("rube.cli.bench", "bench", "Measure a cluster on this machine."),
    "check-history": LazyCommand("rube.cli.check_history", "check_history", "Judge a history of any program's calls."),
    "cluster": LazyCommand("rube.cli.cluster", "cluster", "Look at a replicated store's members, and change them."),
    "controller": LazyCommand("rube.cli.controller", "controller", "Run the cluster controllers alone."),
    "cert": LazyCommand("rube.cli.certificates", "cert", "Make or renew a certificate of a cluster's CA."),
    "examples": LazyCommand("rube.cli.examples", "examples", "List the examples, or copy them to a directory."),
    "init": LazyCommand("rube.cli.certificates", "init", "Make a cluster's CA and its first certificates."),
    "join": LazyCommand("rube.cli.join", "join", "Join a cluster as an apiserver, a controller or a relay."),
    "new": LazyCommand("rube.cli.new", "new", "Begin a controller of your own."),
    "raft": LazyCommand("rube.cli.raft", "raft", "Try Raft by script, message by message."),
    "relay": LazyCommand("rube.cli.relay", "relay", "Serve many from one watch of an apiserver."),
    "replay": LazyCommand("rube.cli.replay", "replay", "Let a controller decide again on recorded states."),
    "revoke": LazyCommand("rube.cli.token", "revoke", "Take back the certificates of an identity."),
    "role": LazyCommand("rube.cli.role", "role", "Print the least rights of a controller."),
    "sim": LazyCommand("rube.cli.sim", "sim", "Run a scenario in the simulated world."),
    "store": LazyCommand("rube.cli.store", "store", "Back up, restore, check, compact and move a store."),
    "systemd-units": LazyCommand(
        "rube.cli.systemd_units", "systemd_units", "Print or install the daemons' systemd units."
    ),
    "token": LazyCommand("rube.cli.token", "token", "Make, list and revoke the tokens by which machines join."),
    "up": LazyCommand("rube.cli.up", "up", "Run a development cluster in the foreground."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rube")
def rube() -> None:
    """Rube: a control plane for typed protobuf resources, real or simulated.

    \b
    rube up                                 a development cluster on this machine
    rube apiserver --store sqlite:///rube.db
    rube sim partition                      the same classes in a simulated world
    """


def main() -> None:
    """Exit codes: 0, 1 for an error, 2 for wrong usage, 130 for one that Ctrl-C ended."""
    leave_first_process()
    run_program(rube, "rube")


if __name__ == "__main__":
    main()
