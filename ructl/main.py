"""The command `ructl`: its subcommands, and how an error ends it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from rube import __version__
from ructl.options import connection_options
from ructl.streams import forget_stdout, use_utf8

# command: (module, short help). The command has its own name in the module.
_COMMANDS = {
    "delete": ("ructl.delete", "Delete objects."),
    "get": ("ructl.get", "Print objects."),
    "list": ("ructl.list", "List the objects of a type."),
    "move": ("ructl.move", "Move a unit to another node, stopped on its own first."),
    "put": ("ructl.put", "Create or replace objects from text format."),
    "watch": ("ructl.watch", "Print every change as it happens."),
}
EXIT_ERROR = 1
EXIT_USAGE = 2
# What a shell reports for a command that SIGINT ended.
EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose help needs none of its commands' imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
    the command or after it. Exit codes: 0, 1 for an error, 2 for wrong usage.
    """


def main() -> None:
    """Runs the command line and exits."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs the command with these arguments; returns the exit code. Errors are one line on stderr."""
    use_utf8()
    try:
        ructl.main(args=list(arguments), prog_name="ructl", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.UsageError as error:
        return _fail(
            f"{_sentence(error)} (see '{error.ctx.command_path if error.ctx else 'ructl'} --help')", EXIT_USAGE
        )
    except click.ClickException as error:
        return _fail(error.format_message(), EXIT_ERROR)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        forget_stdout()
        return EXIT_ERROR
    except OSError as error:
        return _fail(f"cannot write the output: {error.strerror}", EXIT_ERROR)
    return 0


def _sentence(error: click.UsageError) -> str:
    """Click's message on one line; wrong options come with what was probably meant."""
    return " ".join(error.format_message().split()).rstrip(".")


def _fail(message: str, code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        forget_stdout()
    click.echo(f"ructl: {message}", err=True)
    return code


if __name__ == "__main__":
    main()
