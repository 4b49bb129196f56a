"""The command `rube`: daemons, a development cluster, the simulator. A command is imported when it is used."""

from __future__ import annotations

import importlib
import sys

import click

from rube import __version__

# command: (module, attribute, short help)
_COMMANDS = {
    "apiserver": ("rube.cli.apiserver", "apiserver", "Serve the API over a store."),
    "cluster": ("rube.cli.cluster", "cluster", "Look at a replicated store's members, and change them."),
    "controller": ("rube.cli.controller", "controller", "Run the cluster controllers alone."),
    "raft": ("rube.cli.raft", "raft", "Try Raft by script, message by message."),
    "sim": ("rube.cli.sim", "sim", "Run a scenario in the simulated world."),
    "store": ("rube.cli.store", "store", "Back up, restore, check, compact and move a store."),
    "up": ("rube.cli.up", "up", "Run a development cluster in the foreground."),
}


class LazyGroup(click.Group):
    """A group whose help and completion need none of its commands' imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in sorted(_COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rube")
def rube() -> None:
    """Rube: a control plane for typed protobuf resources, real or simulated.

    \b
    rube up                                 a development cluster on this machine
    rube apiserver --store sqlite:///rube.db
    rube sim scenarios/partition.yaml       the same classes in a simulated world
    """


def main() -> None:
    """Exit codes: 0, 1 for an error, 2 for wrong usage."""
    sys.exit(rube(prog_name="rube"))


if __name__ == "__main__":
    main()
