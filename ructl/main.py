"""The command `ructl` and its subcommands."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from rube import __version__
from rube.console import EXIT_ERROR, LazyCommand, LazyGroup, run_command
from rube.console import main as run_program
from ructl.options import connection_options

if TYPE_CHECKING:
    from ructl.ground import Ground

_COMMANDS = {
    "apply": LazyCommand("ructl.apply", "command", "Make objects what files say, beside what others own in them."),
    "auth": LazyCommand("ructl.auth", "command", "Ask who may do what."),
    "completion": LazyCommand("ructl.completion", "command", "Print a shell's completion script."),
    "context": LazyCommand("ructl.context", "command", "Choose among clusters."),
    "cordon": LazyCommand("ructl.cordon", "cordon", "Keep new units off a node."),
    "delete": LazyCommand("ructl.delete", "command", "Delete objects."),
    "describe": LazyCommand("ructl.describe", "command", "Describe an object, and what it waits for."),
    "diff": LazyCommand("ructl.diff", "command", "Show what a put would change."),
    "audit": LazyCommand("ructl.audit", "command", "Print who did what, and by which rule."),
    "events": LazyCommand("ructl.events", "command", "Print what happened to objects."),
    "explain": LazyCommand("ructl.explain", "command", "Explain a type or a field."),
    "get": LazyCommand("ructl.get", "command", "Print objects."),
    "history": LazyCommand("ructl.history", "command", "Show the versions of an object."),
    "list": LazyCommand("ructl.list", "command", "List the objects of a type."),
    "logs": LazyCommand("ructl.logs", "command", "Print the output of a unit."),
    "move": LazyCommand("ructl.move", "command", "Move a unit to another node, stopped on its own first."),
    "patch": LazyCommand("ructl.patch", "command", "Change fields of an object."),
    "put": LazyCommand("ructl.put", "command", "Create or replace objects from text format, JSON or YAML."),
    "release": LazyCommand("ructl.release", "command", "Remove finalizers from objects."),
    "restart": LazyCommand("ructl.restart", "command", "Restart units without an edit of their definitions."),
    "rollback": LazyCommand("ructl.rollback", "command", "Make an object what it was at a revision."),
    "types": LazyCommand("ructl.types", "command", "List the types of objects, and push types of one's own."),
    "uncordon": LazyCommand("ructl.cordon", "uncordon", "Let a node take new units again."),
    "wait": LazyCommand("ructl.wait", "command", "Wait until a condition holds."),
    "watch": LazyCommand("ructl.watch", "command", "Print every change as it happens."),
}


@click.group(
    cls=LazyGroup, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="ructl")
@connection_options
def ructl(server: str | None, node_socket: str | None, timeout_s: float | None) -> None:
    """Puts, reads, deletes and watches the objects of a Rube cluster.

    \b
    ructl put < put.textproto
    ructl list -t api.systemd.Unit -n system
    ructl get -t api.systemd.Unit -n system indexer
    ructl watch -t api.systemd.Unit
    ructl delete 'type = "api.systemd.Unit", metadata { namespace: "system", name: "indexer" }'

    A TYPE is a message's full name; its last part is enough, as in `-t Unit`. The options below may stand before
    the command or after it. Exit codes: 0, 1 for an error, 2 for wrong usage, 3 for a
    wait that is late, 130 after Ctrl-C.
    """


def main() -> NoReturn:
    """Runs the command line and exits."""
    if "_RUCTL_COMPLETE" in os.environ:
        from ructl.shells import register

        register()
    try:
        run_program(ructl, "ructl")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else EXIT_ERROR if end.code else 0
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # run_program has said what could not be written
            stream.flush()
    os._exit(code)  # a client has nothing to put away, and to take its modules apart costs a fifth of a call


def run(arguments: Sequence[str], ground: Ground | None = None) -> int:
    """Runs the command with these arguments, on this machine or on `ground`; returns the exit code."""
    from ructl.cluster_types import TYPES

    TYPES.forget()
    return run_command(ructl, "ructl", arguments, ground)


if __name__ == "__main__":
    main()
