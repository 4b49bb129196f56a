"""The end of a command: one line on stderr that begins with its name, and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from click.exceptions import NoArgsIsHelpError, NoSuchCommand, NoSuchOption

from rube.api.spelling import suggestion
from rube.console.streams import forget_stdout, open_closed_streams, use_utf8
from rube.distribution import missing_module

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""The exit code that a shell reports for a command that SIGINT ended."""


def main(command: click.Command, name: str) -> NoReturn:
    """Runs the program `name` with the process's arguments, and exits."""
    open_closed_streams()
    sys.exit(run_command(command, name, sys.argv[1:]))


def run_command(command: click.Command, name: str, arguments: Sequence[str], obj: object = None) -> int:
    """Runs the command with these arguments; returns the exit code. Errors are one line on stderr. `obj` is Click's.

    A closed output (`… | head`) ends it without an error.
    """
    use_utf8()
    stdout = sys.stdout
    try:
        code = command.main(args=list(arguments), prog_name=name, standalone_mode=False, obj=obj)
        sys.stdout.flush()
    except NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        return _fail(name, f"{_sentence(error)} (see '{path} --help')", EXIT_USAGE)
    except click.ClickException as error:
        return _fail(name, error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail(name, "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        forget_stdout()
        return 0
    except SystemExit:
        if sys.stdout is stdout:
            raise
        # Click has seen the broken pipe first, has put a wrapper of its own around stdout, and would end with 1.
        forget_stdout()
        return 0
    except ModuleNotFoundError as error:
        if (message := missing_module(error)) is None:
            raise
        return _fail(name, message, EXIT_ERROR)
    except OSError as error:
        return _fail(name, f"cannot write the output: {error.strerror or error}", EXIT_ERROR)
    return code if isinstance(code, int) else 0


def one_line(message: str) -> str:
    return " ".join(message.split())


def _sentence(error: click.UsageError) -> str:
    """Returns Click's message on one line; for a wrong command or option with what was probably meant."""
    message = one_line(error.message if isinstance(error, (NoSuchCommand, NoSuchOption)) else error.format_message())
    message = message.rstrip(".")
    context = error.ctx
    if context is None:
        return message
    match error:
        case NoSuchCommand() if isinstance(context.command, click.Group):
            return f"{message}; {suggestion(error.command_name, context.command.list_commands(context))}"
        case NoSuchOption():
            options = [name for parameter in context.command.get_params(context) for name in parameter.opts]
            near = suggestion(error.option_name, [name for name in options if name.startswith("--")])
            return f"{message}; {near}" if near.startswith("did") else message
    return message


def _fail(name: str, message: str, code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        forget_stdout()
    click.echo(f"{name}: {visible(message)}", err=True)
    return code


def visible(text: str) -> str:
    """The text with escapes for what would not be seen or would steer the terminal; line ends stay."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode("ascii") for char in text
    )
