"""`ructl patch`: single fields of an object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from rube.api import Metadata, Object, PatchRequest, PutResponse
from rube.api.errors import InvalidArgumentError
from rube.api.fields import FieldPath, merge_fields, parse_path
from rube.api.keys import key_of
from rube.api.types import pack
from ructl.cluster_types import TYPES
from ructl.completion import complete_names, complete_namespaces, complete_types
from ructl.connection import Connection, ask
from ructl.formats import json_error_text
from ructl.options import server_options, server_target
from ructl.output import place, print_each, tell
from ructl.query import Query, parse_query

OWNER_DEFAULT = "ructl-patch"


@click.command("patch")
@click.argument("words", nargs=-1, metavar="OBJECT [PATH=VALUE…]", shell_complete=complete_names)
@click.option("-t", "--type", "type_name", metavar="TYPE", help="Such as Unit.", shell_complete=complete_types)
@click.option("-n", "--namespace", metavar="NAMESPACE", help="The object's.", shell_complete=complete_namespaces)
@click.option("--unset", "unset", multiple=True, metavar="PATH", help="Clear this field. Several times for several.")
@click.option("--owner", default=OWNER_DEFAULT, show_default=True, metavar="NAME", help="Who owns what this changes.")
@click.option("--dry-run", is_flag=True, help="Check everything and store nothing.")
@click.option(
    "-o", "--output", type=click.Choice(["textproto", "json", "yaml"]), help="Print the object as it is, or would be."
)
@server_options
def command(
    words: tuple[str, ...],
    type_name: str | None,
    namespace: str | None,
    unset: tuple[str, ...],
    owner: str,
    dry_run: bool,
    output: str | None,
    server: str | None,
    timeout_s: float | None,
) -> None:
    """Changes fields of an object, and nothing else.

    \b
    ructl patch -t Unit web spec.service.restart=ALWAYS
    ructl patch unit web metadata.labels.tier=db 'spec.service.exec.start=["/bin/web --port 80"]'
    ructl patch -t Unit -n system indexer --unset spec.service.user
    ructl patch -t Unit web 'spec.service.environment.`A.B`=1'

    A PATH begins with 'spec.' or 'metadata.' ('ructl explain Unit.service' lists fields). A VALUE is text, a number,
    true or false, the name of an enum's value; of a list or a message JSON. A key with a dot stands in backquotes.
    """
    settings = [word.partition("=") for word in words if "=" in word]
    names = [word for word in words if "=" not in word]
    if type_name is None and len(names) == 2:
        type_name = names.pop(0)
    if not settings and not unset:
        raise click.UsageError("patch needs PATH=VALUE, or --unset PATH")
    query = parse_query(type_name, namespace, None, names)
    if len(query.names) != 1:
        raise click.UsageError("patch changes one object: name it before the paths")
    try:
        values = _values(query.type, [(path, value) for path, _, value in settings])
        for path in unset:
            _parse(query.type, path)
    except InvalidArgumentError as error:
        raise click.ClickException(error.message) from error
    request = PatchRequest(object=values, owner=owner, validate_only=dry_run)
    request.update_mask.paths.extend([*(path for path, _, _ in settings), *unset])
    ask(server_target(server, timeout_s), lambda connection: _patch(connection, query, request, output))


async def _patch(connection: Connection, query: Query, request: PatchRequest, output: str | None) -> None:
    (found,) = await connection.find(query)
    key = key_of(found)
    request.object.metadata.namespace, request.object.metadata.name = key.namespace, key.name
    response = await connection.patch(request)
    if output:
        print_each([response.object], output)
        return
    metadata = response.object.metadata
    changed = response.outcome == PutResponse.CHANGED
    if request.validate_only:
        tell(f"would {'change' if changed else 'not change'} {place(metadata)}")
    else:
        tell(f"{'changed' if changed else 'unchanged'} {place(metadata)} revision {metadata.revision}")


def _parse(type_name: str, path: str) -> FieldPath:
    """Returns the path below the metadata or the spec. Raises InvalidArgumentError."""
    root, dot, rest = path.partition(".")
    if root not in ("metadata", "spec") or not dot:
        raise InvalidArgumentError(f"path {path!r}: write spec.FIELD or metadata.FIELD", field=path)
    descriptor: Any = Metadata.DESCRIPTOR if root == "metadata" else TYPES.kind(type_name).spec.DESCRIPTOR
    return parse_path(descriptor, rest, f"{root}.")


def _values(type_name: str, settings: Sequence[tuple[str, str]]) -> Object:
    """Returns an object of the type with these fields. Raises InvalidArgumentError that names the path."""
    spec = TYPES.kind(type_name).spec()
    obj = Object()
    for path, text in settings:
        steps = _parse(type_name, path)
        target = obj.metadata if path.startswith("metadata.") else spec
        try:
            # Merged, for ParseDict would replace a map or a list of which an earlier path has set a key.
            merge_fields(json_format.ParseDict(_nested(steps, text), type(target)()), target)
        except (json_format.ParseError, ValueError, TypeError, AttributeError) as error:
            raise InvalidArgumentError(f"{path}={text}: {json_error_text(error)}", field=path) from error
    obj.spec.CopyFrom(pack(spec))
    return obj


def _nested(steps: FieldPath, text: str) -> dict[str, Any]:
    """Returns the value in the JSON of the messages around it."""
    last = steps[-1]
    field = last.shape.value if last.key is not None and last.shape.value is not None else last.shape.field
    if last.key is not None and last.shape.value is None:
        raise ValueError("name the whole list, or fields of its items")
    value: Any = text
    if field.is_repeated or field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
        value = _json(text)
    for step in reversed(steps):
        if step.key is None:
            value = {step.shape.name: value}
        elif step.shape.value is not None:
            value = {step.shape.name: {_json_key(step.key): value}}
        else:
            assert step.shape.key is not None, "items of a keyed list have keys"
            value = {step.shape.name: [{step.shape.key.name: step.key, **value}]}
    return dict(value)


def _json_key(key: str | int | bool) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _json(text: str) -> Any:
    """Returns the JSON value; the text itself where it is none, such as the name of an enum's value."""
    try:
        return json.loads(text)
    except ValueError:
        return text
