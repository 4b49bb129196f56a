"""`ructl audit`: who did what, and by which rule."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any, Final

import click

from rube.api import AuditRequest
from rube.api.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError
from rube.api.times import NS_PER_S
from rube.host import RealRandomness
from rube.host.backoff import Backoff
from ructl.completion import complete_names, complete_namespaces, complete_types
from ructl.connection import Connection, one_line, run
from ructl.durations import Duration, now_ns
from ructl.following import RETRY_DELAY_S_INITIAL, RETRY_DELAY_S_MAX, until_stopped
from ructl.options import output_option, server_options, server_target
from ructl.places import full_type_name, short_name
from ructl.table import printable

_OBJECTS_SHOWN: Final = 3


@click.command("audit")
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("-t", "type_name", metavar="TYPE", help="Only what was done to this type.", shell_complete=complete_types)
@click.option("-n", "--namespace", metavar="NAME", help="Only in this namespace.", shell_complete=complete_namespaces)
@click.option("--who", "subjects", metavar="CALLER", multiple=True, help="Such as user/ada, or node/*; repeat it.")
@click.option("--verb", "verbs", metavar="VERB", multiple=True, help="Such as put, or delete; repeat it.")
@click.option("--failed", is_flag=True, help="Only calls that ended with an error, such as refused ones.")
@click.option("--since", "since_s", type=Duration(), metavar="DURATION", help="Only what was done in so long, as 1h.")
@click.option(
    "--after", "after", metavar="LINE", type=click.IntRange(min=0), default=0, help="Only lines after this number."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with each line as it comes, until Ctrl-C.")
@output_option("table", "json")
@server_options
def command(
    name: str | None,
    type_name: str | None,
    namespace: str | None,
    subjects: tuple[str, ...],
    verbs: tuple[str, ...],
    failed: bool,
    since_s: float | None,
    after: int,
    follow: bool,
    output: str,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Prints a server's audit log: who did what, from where, by which rule, and how it ended. The newest last.

    \b
    ructl audit --since 1h
    ructl audit -f --who user/ada --who 'node/*'
    ructl audit -t Unit -n shop till --verb delete
    ructl audit -f -o json >> copy.jsonl        # then: rube audit verify copy.jsonl

    -o json prints the lines byte for byte. Takes the verb `audit` on every type, which the role admin has. Each
    apiserver has a log of its own (rube apiserver --audit FILE).
    """
    request = AuditRequest(
        subjects=subjects, verbs=verbs, namespace=namespace or "", name=name or "", failed=failed, follow=follow
    )
    request.after_sequence = after
    if type_name is not None:
        try:
            request.types.append(full_type_name(type_name))
        except InvalidArgumentError as error:
            raise click.UsageError(error.message) from error
    if since_s is not None:
        request.since.FromNanoseconds(now_ns() - round(since_s * NS_PER_S))
    run(server_target(server, timeout_s), lambda connection: until_stopped(_print(connection, request, output)))


async def _print(connection: Connection, request: AuditRequest, output: str) -> None:
    backoff = Backoff(RealRandomness().stream("ructl"), initial_s=RETRY_DELAY_S_INITIAL, max_s=RETRY_DELAY_S_MAX)
    connected = False
    while True:
        try:
            async with aclosing(connection.audit(request)) as responses:
                async for response in responses:
                    connected = True
                    backoff.reset()
                    for line in response.lines:
                        click.echo(line if output == "json" else _row(line))
                        request.after_sequence = _fields(line).get("sequence", request.after_sequence)
        except (UnavailableError, DeadlineExceededError) as error:
            if not (connected and request.follow):
                raise
            click.echo(f"ructl: {one_line(error)}; going on after line {request.after_sequence}", err=True)
            await asyncio.sleep(backoff.next_s())
            continue
        return


def _row(line: str) -> str:
    """Returns a line for people."""
    fields = _fields(line)
    at = str(fields.get("time", ""))[:23].replace("T", " ")
    if not fields:
        return f"a line that cannot be read: {printable(line)}"
    if fields.get("kind") == "START":
        lost = f", {fields['lostLines']} lines could not be written" if "lostLines" in fields else ""
        return f"{at}  the log of {printable(str(fields.get('server')))} begins, or goes on{lost}"
    if fields.get("kind"):
        return f"{at}  another file begins"
    parts = [at, f"{fields.get('code', ''):<17}", printable(f"{fields.get('subject')} {fields.get('verb')}")]
    if fields.get("certified"):
        parts.append(printable(f"as {fields['certified']}"))
    parts += [", ".join(_objects(fields))]
    if "validateOnly" in fields:
        parts.append("(dry run)")
    if "repeatedTimes" in fields:
        parts.append(f"(and {fields['repeatedTimes']} more)")
    parts.append(f"from {fields.get('address')}")
    if fields.get("rules"):
        parts.append(f"by {printable('; '.join(fields['rules']))}")
    return "  ".join(filter(None, parts))


def _objects(fields: dict[str, Any]) -> list[str]:
    found = []
    objects = fields.get("objects", [])
    for each in objects[:_OBJECTS_SHOWN]:
        place = "/".join(filter(None, (each.get("namespace"), each.get("name"))))
        text = printable(f"{short_name(each.get('type', ''))} {place}".strip())
        if each.get("newRevision"):
            text += f" {each.get('oldRevision', 0)}→{each['newRevision']}"
        found.append(text)
    more = len(objects) - len(found) + fields.get("moreObjects", 0)
    return [*found, f"{more} more"] if more else found


def _fields(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
