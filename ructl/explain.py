"""`ructl explain`: the meaning of a type's fields, in the words of its proto."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from importlib import resources

import click
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rube.api import Type
from rube.api.errors import InvalidArgumentError
from ructl.cluster_types import TYPES
from ructl.completion import complete_explained
from ructl.options import server_options
from ructl.places import type_of_word
from ructl.proto_comments import FieldWords, MessageWords, ProtoComments

_WIDTH_MAX = 100
_ROOTS = ("metadata", "spec", "status")


@click.command("explain")
@click.argument("path", metavar="TYPE[.FIELD]…", shell_complete=complete_explained)
@click.option("--recursive", is_flag=True, help="Also the fields of fields.")
@server_options
def command(path: str, recursive: bool, **_read_by_types: object) -> None:
    """Says what a type, or a field of it, means, and which fields or values it has.

    \b
    ructl explain Unit
    ructl explain Unit.service.restart
    ructl explain api.systemd.Unit.service.exec
    ructl explain Unit.status.active_state
    ructl explain Object.metadata
    ructl explain Node --recursive

    After a type, `spec` and `status` may be written, and `metadata`, as in an object; without one of them a field of
    the spec is meant. A built-in type needs no server; a pushed one is asked for.
    """
    try:
        comments = load_comments()
        if not comments.has(path) and TYPES.load():
            comments = load_comments()
        first, dot, rest = path.partition(".")
        if not comments.has(path) and (named := type_of_word(first)):
            path = f"{named}{dot}{rest}"
        for line in explain(comments, path, recursive=recursive):
            click.echo(line)
    except InvalidArgumentError as error:
        raise click.UsageError(f"{error.message}{TYPES.why_unknown()}") from error


def load_comments() -> ProtoComments:
    """Returns the comments of Rube's own protos, and of the pushed types that are known."""
    files = FileDescriptorSet.FromString(resources.files("rube.api").joinpath("descriptors.binpb").read_bytes())
    for kind in TYPES.kinds():
        if kind.source:
            files.file.extend(Type.FromString(kind.source).files.file)
    return ProtoComments(files)


def fields_of(path: str) -> list[str]:
    """Returns the names of the fields of the type or field at a path. Raises InvalidArgumentError as `explain` does."""
    comments = load_comments()
    message, steps = _type_of(comments, path)
    for step in steps:
        message = comments.message(message.field(step).message)
    return [field.name for field in message.fields]


def explain(comments: ProtoComments, path: str, *, recursive: bool = False) -> Iterator[str]:
    """Yields the lines about the type or field at a path. Raises InvalidArgumentError, with a suggestion, if there is
    none."""
    message, steps = _type_of(comments, path)
    field: FieldWords | None = None
    for index, step in enumerate(steps):
        field = message.field(step)
        if field.message in comments.messages:
            message = comments.messages[field.message]
        elif index + 1 < len(steps):
            raise InvalidArgumentError(f"{step} is {field.type}: it has no fields")
    if field is None:
        yield from _of_message(comments, message, recursive)
        return
    yield f"{field.name}: {field.type}"
    yield from _paragraphs(field.comment, "  ")
    if field.rules:
        yield from _paragraphs(f"Rules: {'; '.join(field.rules)}.", "  ")
    if field.enum in comments.enums:
        yield ""
        yield "Values:"
        yield from _rows([(name, "", said) for name, said in comments.enums[field.enum].values])
    elif field.message in comments.messages:
        yield ""
        yield from _of_message(comments, comments.messages[field.message], recursive)


def _type_of(comments: ProtoComments, path: str) -> tuple[MessageWords, list[str]]:
    """The message that the path begins with, and the fields that follow."""
    words = path.split(".")
    # The longest name of a message that the path begins with.
    for count in range(len(words), 1, -1):
        if ".".join(words[:count]) in comments.messages:
            message, steps = comments.messages[".".join(words[:count])], words[count:]
            break
    else:
        message, steps = comments.message(words[0]), words[1:]
    if not steps or steps[0] not in _ROOTS or steps[0] in [field.name for field in message.fields]:
        return message, steps
    if steps[0] == "metadata":
        return comments.message("api.Metadata"), steps[1:]
    status = TYPES.kind(message.name).status if steps[0] == "status" else None
    if steps[0] == "status":
        if status is None:
            raise InvalidArgumentError(f"objects of type {message.name} have no status")
        return comments.message(status.DESCRIPTOR.full_name), steps[1:]
    return message, steps[1:]


def _of_message(comments: ProtoComments, message: MessageWords, recursive: bool) -> Iterator[str]:
    yield f"{message.name}  ({message.file})"
    yield from _paragraphs(message.comment, "  ")
    kinds = {kind.name: kind for kind in TYPES.kinds()}
    if (kind := kinds.get(message.name)) is not None and kind.status is not None:
        yield f"  Its status is {kind.status.DESCRIPTOR.full_name}: ructl explain {kind.status.DESCRIPTOR.name}"
    if message.fields:
        yield ""
        yield "Fields:"
        yield from _rows(list(_fields(comments, message, recursive, "", (message.name,))))
    if message.rules:
        yield ""
        yield "Rules:"
        yield from _rows([(rule, "", said) for rule, said in message.rules])


def _fields(
    comments: ProtoComments, message: MessageWords, recursive: bool, indent: str, within: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    for field in message.fields:
        yield f"{indent}{field.name}", field.type, field.comment
        if recursive and field.message in comments.messages and field.message not in within:
            inner = comments.messages[field.message]
            yield from _fields(comments, inner, recursive, indent + "  ", (*within, field.message))


def _rows(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    """Aligned columns, the last of them wrapped."""
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    begin = 2 + widths[0] + (2 + widths[1] if widths[1] else 0) + 2
    room = max(30, _width() - begin)
    for name, kind, said in rows:
        head = f"  {name.ljust(widths[0])}" + (f"  {kind.ljust(widths[1])}" if widths[1] else "")
        lines = textwrap.wrap(" ".join(said.split()), room) or [""]
        yield f"{head}  {lines[0]}".rstrip()
        yield from (f"{' ' * begin}{line}" for line in lines[1:])


def _paragraphs(text: str, indent: str) -> Iterator[str]:
    for paragraph in text.split("\n\n") if text else []:
        yield from (f"{indent}{line}" for line in textwrap.wrap(paragraph, _width() - len(indent)))


def _width() -> int:
    return min(_WIDTH_MAX, shutil.get_terminal_size().columns)
