"""`rube raft`: a cluster of consensus cores to try things on, by script or by hand."""

from __future__ import annotations

import contextlib
import difflib
import readline
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from rube.api.errors import RubeError
from rube.console import WholeGroup
from rube.raft.script import (
    COMMANDS,
    Directive,
    Interaction,
    Script,
    ScriptError,
    parse_script,
    terminated,
    without_log_lines,
)
from rube.raft.tla import TlaTrace

_PROMPT, _MORE = "raft> ", "   .. "


@click.group(cls=WholeGroup)
def raft() -> None:
    """Try Raft by script: every message, batch and storage write is a command's.

    \b
    rube raft shell
    rube examples .                          # copies them, 06-raft-scripts/election.txt among them
    rube raft run 06-raft-scripts/election.txt
    rube raft run --check 06-raft-scripts/*.txt

    The format and the commands are those of etcd-raft's interaction tests.
    """


_trace_option = click.option(
    "--trace",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write what happens as etcd-raft's TLA+ trace (NDJSON).",
)


@raft.command()
@click.argument("scripts", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--check", is_flag=True, help="Compare with the output in the script, but for log lines; exit 1 if it differs."
)
@click.option("--rewrite", is_flag=True, help="Write the output into the script.")
@_trace_option
def run(scripts: Sequence[Path], check: bool, rewrite: bool, trace: Path | None) -> None:
    """Runs SCRIPTs, each with a cluster of its own, and prints them with their output."""
    if check and rewrite:
        raise click.UsageError("--check compares with what --rewrite would replace: give one of them")
    if trace and len(scripts) > 1:
        raise click.UsageError("--trace takes one script: a trace is of one cluster")
    with _observed(trace) as observers:
        differing = [path for path in scripts if not _run_one(path, Interaction(observers), check, rewrite)]
    if differing:
        raise click.ClickException(f"{len(differing)} of {len(scripts)} scripts print something else than they say")


def _run_one(path: Path, session: Interaction, check: bool, rewrite: bool) -> bool:
    """False if the output is not the expected one, where that was asked."""
    with _errors_reported():
        script = parse_script(_text(path), str(path))
        outputs = [_handle(session, directive) for directive in script.directives if directive.command != "subtest"]
    if check:
        difference = _difference(script, outputs)
        click.echo(difference, nl=False)
        return not difference
    text = script.rewritten(outputs)
    if rewrite:
        try:
            path.write_text(text)
        except OSError as error:
            raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error
    else:
        click.echo(text, nl=False)
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise ScriptError(f"{path} is no script: it is not text in UTF-8") from error
    except OSError as error:
        raise ScriptError(f"{path} cannot be read: {error.strerror}") from error


def _handle(session: Interaction, directive: Directive) -> str:
    try:
        return terminated(session.handle(directive))
    except AssertionError as error:
        raise directive.error(f"the core cannot go on from here: {error}") from error


def _difference(script: Script, outputs: Sequence[str]) -> str:
    """A diff for each directive that prints something else; log lines do not count."""
    parts = []
    directives = [directive for directive in script.directives if directive.command != "subtest"]
    for directive, output in zip(directives, outputs, strict=True):
        wanted, got = without_log_lines(directive.expected or ""), without_log_lines(output)
        if wanted != got:
            parts.append(f"{directive.source}:{directive.line}: {directive.command}\n")
            parts += difflib.unified_diff(
                wanted.splitlines(keepends=True), got.splitlines(keepends=True), "expected", "printed"
            )
    return "".join(parts)


@contextlib.contextmanager
def _errors_reported() -> Iterator[None]:
    try:
        yield
    except RubeError as error:
        raise click.ClickException(error.message) from error


@contextlib.contextmanager
def _observed(trace: Path | None) -> Iterator[list[TlaTrace]]:
    if trace is None:
        yield []
        return
    try:
        file = trace.open("w")
    except OSError as error:
        raise click.ClickException(f"{trace} cannot be written: {error.strerror}") from error
    with file:
        yield [TlaTrace(file.write)]


@raft.command()
@_trace_option
def shell(trace: Path | None) -> None:
    """Drive a cluster by hand. `help` lists the commands; what you did can be saved as a script."""
    with _observed(trace) as observers:
        Shell(Interaction(observers)).loop()


class Shell:
    """Reads commands from the terminal until its end or `quit`."""

    def __init__(self, session: Interaction) -> None:
        self._session = session
        # The entered lines, each with its output.
        self._done: list[tuple[str, str]] = []
        self._own: dict[str, tuple[str, Callable[[list[str]], str]]] = {
            "help": ("[COMMAND]  what there is, or how a command is written", self._help),
            "history": ("what you have entered", self._history),
            "save": ("FILE  write what you have done as a script, with its output", self._save),
            "quit": ("end", self._quit),
        }

    def loop(self) -> None:
        """Runs until the end of the input."""
        names = sorted([*COMMANDS, *self._own])
        readline.set_completer(lambda text, state: ([n + " " for n in names if n.startswith(text)] + [None])[state])
        readline.set_completer_delims(" ")
        readline.parse_and_bind("tab: complete")
        if sys.stdin.isatty():
            click.echo("A cluster of Raft cores, driven by hand: try `add-nodes 3 voters=(1,2,3) index=2`, or `help`.")
        while (line := self._read(_PROMPT)) is not None:
            try:
                click.echo(self.enter(line), nl=False)
            except RubeError as error:
                click.echo(f"error: {error.message}", err=True)
            except EOFError:
                return

    def enter(self, line: str) -> str:
        """Returns the output of the line. Raises ScriptError; EOFError for `quit`."""
        words = line.split()
        if not words or words[0].startswith("#"):
            return ""
        if words[0] in self._own:
            return terminated(self._own[words[0]][1](words[1:]))
        text = line
        if words[0] == "propose-conf-change":
            text += f"\n{self._read(_MORE) or ''}"
        (directive,) = parse_script(f"{text}\n----\n", "shell").directives
        try:
            output = _handle(self._session, directive)
        except ScriptError as error:
            raise ScriptError(error.message.removeprefix("shell:1: ")) from error
        self._done.append((text.strip(), output))
        return output

    def _read(self, prompt: str) -> str | None:
        try:
            return input(prompt if sys.stdin.isatty() else "")
        except EOFError:
            return None

    def _help(self, words: list[str]) -> str:
        if words and words[0] in COMMANDS:
            command = COMMANDS[words[0]]
            return f"{words[0]} {command.usage}\n  {command.help}"
        rows = [(name, command.help) for name, command in sorted(COMMANDS.items()) if not name.startswith("_")]
        rows += [(name, text) for name, (text, _) in self._own.items()]
        return "\n".join(f"{name:<33}{text}" for name, text in rows)

    def _history(self, words: list[str]) -> str:
        return "\n".join(text for text, _ in self._done)

    def _save(self, words: list[str]) -> str:
        if len(words) != 1:
            raise ScriptError("save: give the name of a file")
        script = parse_script("\n".join(f"{text}\n----\n" for text, _ in self._done), words[0])
        path = Path(words[0])
        try:
            path.write_text(script.rewritten([output for _, output in self._done]))
        except OSError as error:
            raise ScriptError(f"save: cannot write {path}: {error.strerror}") from error
        return f"{len(self._done)} commands are in {path}"

    def _quit(self, words: list[str]) -> str:
        raise EOFError
