"""`rube check-history`: judge a history of calls, of any program."""

from __future__ import annotations

import sys
from pathlib import Path

import click

EXIT_NO_VERDICT = 3
MODELS = ("register", "key-value")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--model",
    type=click.Choice(MODELS),
    default="register",
    show_default=True,
    help="register: read, write, cas. key-value: get, put, append.",
)
def check_history(file: Path, model: str) -> None:
    """Says whether a history is linearizable.

    Then one order of its calls, each between its start and its end, explains all answers. The file has an operation a
    line, as Jepsen writes it: an EDN map, or its log. An operation with a :key belongs to that part of the state.

    Exit codes: 0 linearizable, 1 not linearizable, 2 not a history, 3 no
    verdict: the search would take too long.

    \b
    Examples:
      rube check-history store/latest/history.edn
      rube check-history calls.edn --model key-value
    """
    from rube.api.errors import InvalidArgumentError
    from rube.sim.judges.verdict import many
    from rube.sim.linearizability import KeyValue, Register, check, read_history

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
        calls = read_history(text)
        violation = check(calls, KeyValue() if model == "key-value" else Register())
    except (InvalidArgumentError, ValueError) as error:
        raise click.UsageError(f"{file}: {error}") from error
    except TimeoutError as error:
        click.echo(f"rube: {error}", err=True)
        raise SystemExit(EXIT_NO_VERDICT) from error
    if violation is None:
        click.echo(f"linearizable: {many(len(calls), 'call')} of {many(len({call.key for call in calls}), 'key')}")
        return
    click.echo(f"not linearizable: {violation}")
    raise SystemExit(1)
