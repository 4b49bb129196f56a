"""Objects as the user wants to read them: text format, JSON, names; `ructl.table` draws the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click
from google.protobuf.message import Message

from rube.api import List, Metadata, Object, textproto
from rube.api.keys import ObjectKey, key_of
from rube.api.types.kinds import AnyPool
from rube.console.streams import forget_stdout
from ructl.cluster_types import TYPES
from ructl.durations import now_ns
from ructl.table import table

_HEADER: Final = "# proto-file: rube/api.proto\n# proto-message: {}\n\n"
_REQUEST_PREFIX: Final = "rube/"
GROUP_OBJECTS_MAX: Final = 100
"""The number of objects that every store takes at one revision."""
GROUP_BYTES_MAX: Final = 1024 * 1024


def tell(line: str) -> None:
    """Prints the result of a write. If the reader is gone, the writes go on silently."""
    try:
        click.echo(line)
    except BrokenPipeError:
        forget_stdout()


def place(named: Metadata | ObjectKey) -> str:
    """`system/indexer`, or the name alone outside namespaces."""
    return f"{named.namespace}/{named.name}" if named.namespace else named.name


def print_each(objects: Sequence[Object], output: str) -> None:
    """Prints objects one by one: in text format each is a document of its own."""
    match output:
        case "textproto" | "spec":
            header = _HEADER.format("Object")
            shown = map(written, objects) if output == "spec" else objects
            click.echo("\n".join(header + textproto.format(obj, TYPES) for obj in shown), nl=False)
        case "json":
            for obj in objects:
                click.echo(json.dumps(json_value(obj), indent=2, ensure_ascii=False))
        case "yaml":
            click.echo("---\n".join(yaml_text(json_value(obj)) for obj in objects), nl=False)
        case _:
            print_list(objects, output)


def print_list(objects: Sequence[Object], output: str) -> None:
    """Prints objects together: in text format and JSON the whole is one api.List.

    In text format a header precedes each group that every store takes at one revision, so that it can be put.
    """
    match output:
        case "textproto" | "spec":
            for group in groups([written(obj) for obj in objects] if output == "spec" else objects):
                click.echo(_HEADER.format("List") + textproto.format(List(items=group), TYPES), nl=False)
        case "json":
            click.echo(json.dumps({"items": [json_value(obj) for obj in objects]}, indent=2, ensure_ascii=False))
        case "yaml":
            click.echo(yaml_text({"items": [json_value(obj) for obj in objects]}), nl=False)
        case "name":
            for obj in objects:
                click.echo(str(key_of(obj)))
        case _:
            for line in table(objects, now_ns=now_ns(), wide=output == "wide"):
                click.echo(line)


def written(obj: Object) -> Object:
    """The part of an object that its user writes: put again it overwrites whatever is there, on any cluster."""
    metadata = Metadata(
        namespace=obj.metadata.namespace,
        name=obj.metadata.name,
        labels=obj.metadata.labels,
        annotations={name: text for name, text in obj.metadata.annotations.items() if not is_request_to_rube(name)},
        owner_references=obj.metadata.owner_references,
    )
    return Object(metadata=metadata, spec=obj.spec)


def is_request_to_rube(annotation: str) -> bool:
    """Returns whether an annotation asks Rube for something once: putting an old one again must not ask for it
    again."""
    return annotation.startswith(_REQUEST_PREFIX)


def groups(objects: Sequence[Object], *, objects_max: int = GROUP_OBJECTS_MAX) -> Iterator[list[Object]]:
    """The objects in pieces that every store takes at one revision."""
    group: list[Object] = []
    group_bytes = 0
    for obj in objects:
        size = obj.ByteSize()
        if group and (len(group) == objects_max or group_bytes + size > GROUP_BYTES_MAX):
            yield group
            group, group_bytes = [], 0
        group.append(obj)
        group_bytes += size
    if group:
        yield group


def json_value(message: Message) -> dict[str, Any]:
    """Protobuf's JSON mapping with the fields named as in the protos
    (https://protobuf.dev/programming-guides/json/)."""
    from google.protobuf import json_format

    try:
        value: dict[str, Any] = json_format.MessageToDict(
            message,
            preserving_proto_field_name=True,
            descriptor_pool=AnyPool(TYPES),  # type: ignore[arg-type]  # it is asked for messages alone
        )
    except TypeError as error:
        raise click.ClickException(f"JSON cannot show a type that this ructl does not know: {error}") from error
    return value


def yaml_text(value: dict[str, Any]) -> str:
    """The value as YAML, with quotes around whatever YAML 1.1 or 1.2 would read as something else than text."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(_plain(value), Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _plain(value: Any) -> Any:
    """The value without the ordered dictionaries of protobuf's JSON mapping."""
    if isinstance(value, dict):
        return {name: _plain(field) for name, field in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
