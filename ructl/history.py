"""`ructl history`: the versions of an object, and what each write changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import click

from rube.api import HistoryRequest, Object, Version, textproto
from rube.api.errors import InvalidArgumentError, NotFoundError
from rube.api.fields import Values, field_values
from rube.api.keys import ObjectKey, key_of
from ructl.cluster_types import TYPES
from ructl.connection import Connection, ask
from ructl.diff import difference
from ructl.durations import now_ns
from ructl.options import connection_options, output_option, query_options, target
from ructl.output import json_value, place, yaml_text
from ructl.places import short_name
from ructl.query import Query, parse_query
from ructl.table import age_of, aligned, time_since

_CHANGES_SHOWN_MAX: Final = 4
# Fields of the metadata whose changes are shown.
_METADATA_FIELDS: Final = ("labels", "annotations", "finalizers", "owner_references", "delete_time")
_WORDS: Final = {Version.CREATED: "created", Version.CHANGED: "changed", Version.DELETED: "deleted"}


class Step(NamedTuple):
    """A version, and the one before it of the same object, if that is known."""

    version: Version
    before: Version | None

    def changes(self) -> list[str]:
        """The paths of the fields that the write changed; none where that is not known."""
        if self.before is None or self.version.operation != Version.CHANGED:
            return []
        old, new = _values(self.before.object), _values(self.version.object)
        return sorted(path for path in old.keys() | new.keys() if old.get(path, old) != new.get(path, new))

    @property
    def only_status(self) -> bool:
        """True if the write changed the status alone."""
        changes = self.changes()
        return bool(changes) and all(path.startswith("status") for path in changes)


@click.command("history")
@query_options
@click.option("--all", "everything", is_flag=True, help="Show also the writes that changed the status alone.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="Show so many at most."
)
@output_option("table", "diff", "textproto", "json", "yaml")
@connection_options
def command(
    type_name: str | None,
    namespace: str | None,
    labels: str | None,
    names: tuple[str, ...],
    everything: bool,
    limit: int,
    output: str,
    server: str | None,
    node_socket: str | None,
    timeout_s: float | None,
) -> None:
    """Shows the versions of one object, newest first, also of one that was deleted, and what each write changed.

    \b
    ructl history -t Unit -n system indexer
    ructl history -t Unit -n system indexer -o diff
    ructl history -t Unit -n system indexer --all --limit 500 -o json
    ructl get -t Unit -n system indexer --at-revision 4711

    It goes back as far as the store does, which keeps a number of revisions (`rube apiserver --history`), and says how
    far. -o diff shows what users write (spec, labels, annotations, owners), as a unified diff for each version. The age
    is that of what the object itself says: when it was created, and when its deletion began. An object that was
    deleted is named with its namespace.
    """
    query = parse_query(type_name, namespace, labels, names)
    where = target(server, node_socket, timeout_s)
    ask(where, lambda connection: _history(connection, query, everything, limit, output))


async def _history(connection: Connection, query: Query, everything: bool, limit: int, output: str) -> None:
    key = await one_key(connection, query)
    steps: list[Step] = []
    hidden = 0
    request = HistoryRequest(key=key.to_proto())
    waiting: Version | None = None
    while True:
        response = await connection.history(request)
        for version in response.versions:
            if waiting is not None:
                step = Step(waiting, _predecessor(waiting, version))
                hidden += _take(step, steps, everything)
            waiting = version
        request.page_token = response.next_page_token
        if not request.page_token or len(steps) >= limit:
            break
    if waiting is not None and len(steps) < limit:
        hidden += _take(Step(waiting, None), steps, everything)
    _print(steps[:limit], output)
    if hidden:
        click.echo(f"ructl: writes that changed the status alone are left out ({hidden}): --all shows them", err=True)
    if len(steps) >= limit:
        click.echo(f"ructl: there are perhaps more: --limit {2 * limit}", err=True)
    elif response.oldest_revision > 1:
        click.echo(f"ructl: the store goes back to revision {response.oldest_revision}", err=True)


def _take(step: Step, steps: list[Step], everything: bool) -> bool:
    """Adds the step if it is to be shown; returns whether it is not."""
    if not everything and step.only_status:
        return True
    steps.append(step)
    return False


def _predecessor(version: Version, older: Version) -> Version | None:
    """Returns the older version if it is of the same object, and not of another one with its name."""
    return None if version.operation == Version.CREATED else older


async def one_key(connection: Connection, query: Query) -> ObjectKey:
    """Returns the key of the object that the query names, which may be deleted where the query has its namespace.

    Raises InvalidArgumentError for a query that does not name one.
    """
    if len(query.names) != 1 or query.labels.requirements or query.uid:
        raise InvalidArgumentError("name one object: its type, namespace and name")
    if keys := query.exact_keys():
        return keys[0]
    found = [key_of(obj) for obj in await connection.list_objects(query)]
    if len(found) > 1:
        places = ", ".join(place(key) for key in found)
        raise InvalidArgumentError(f"{places} have that name: choose one with -n")
    if not found:
        raise NotFoundError(
            f"there is no {short_name(query.type).lower()} {query.names[0]!r} now: name the namespace of one that was "
            "deleted with -n"
        )
    return found[0]


def _values(obj: Object) -> Values:
    found = field_values(obj.metadata, "metadata.", names=_METADATA_FIELDS)
    for name, packed in (("spec", obj.spec), ("status", obj.status)):
        if packed.type_url:
            try:
                found |= field_values(TYPES.unpack(packed), f"{name}.")
            except InvalidArgumentError:
                found[name] = packed.value
    return found


def _print(steps: Sequence[Step], output: str) -> None:
    match output:
        case "textproto":
            header = "# proto-file: rube/api.proto\n# proto-message: Version\n\n"
            click.echo("\n".join(header + textproto.format(step.version, TYPES) for step in steps), nl=False)
        case "json" | "yaml":
            value: dict[str, Any] = {"versions": [json_value(step.version) for step in steps]}
            text = yaml_text(value) if output == "yaml" else json.dumps(value, indent=2, ensure_ascii=False) + "\n"
            click.echo(text, nl=False)
        case "diff":
            for step in steps:
                for line in _diff(step):
                    click.echo(line)
        case _:
            for line in _table(steps):
                click.echo(line)


def _table(steps: Sequence[Step]) -> list[str]:
    at_ns = now_ns()
    return aligned(
        {
            "REVISION": [str(step.version.revision) for step in steps],
            "OPERATION": [_WORDS.get(step.version.operation, "") for step in steps],
            "GENERATION": [str(step.version.object.metadata.generation) for step in steps],
            "AGE": [_age(step, at_ns) for step in steps],
            "CHANGES": [_shown(step.changes()) for step in steps],
        }
    )


def _age(step: Step, at_ns: int) -> str:
    """Returns the age of the write, where the object says when it was: its creation, and the begin of its deletion."""
    version, metadata = step.version, step.version.object.metadata
    if version.operation == Version.CREATED:
        return age_of(version.object, at_ns)
    begun = metadata.HasField("delete_time") and version.operation == Version.CHANGED
    if begun and step.before is not None and not step.before.object.metadata.HasField("delete_time"):
        return time_since(metadata.delete_time.ToNanoseconds(), at_ns)
    return ""


def _shown(paths: Sequence[str]) -> str:
    """Returns the paths, without those of messages around others, and of many only the first."""
    inner = [path for path in paths if not any(other.startswith(f"{path}.") for other in paths)]
    more = f" and {len(inner) - _CHANGES_SHOWN_MAX} more" if len(inner) > _CHANGES_SHOWN_MAX else ""
    return ", ".join(inner[:_CHANGES_SHOWN_MAX]) + more


def _diff(step: Step) -> list[str]:
    version = step.version
    name = place(version.object.metadata)
    then = f"{name} {_WORDS.get(version.operation, '')} at revision {version.revision}"
    if version.operation == Version.DELETED:
        return [f"--- {then}", "+++ /dev/null"]
    if version.operation == Version.CHANGED and step.before is None:
        return [f"+++ {then}: what was before is not known"]
    before = None if step.before is None else step.before.object
    earlier = "" if step.before is None else f"{name} at revision {step.before.revision}"
    return difference(before, version.object, then, earlier) or [f"+++ {then}: {_shown(step.changes())}"]
