"""Messages, enums and services of the protos, with their comments: what `ructl explain` shows, as pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from docs.generator.page import Page, cell
from ructl.proto_comments import EnumWords, FieldWords, MessageWords, ProtoComments

_ROOT = Path(__file__).parents[2]
_SERVICE, _METHOD, _SYNTAX = 6, 2, (12,)
"""Field numbers of FileDescriptorProto and ServiceDescriptorProto, of which the paths of SourceCodeInfo consist."""


def pages() -> list[Page]:
    """One page for each proto of the API, and one for the scenarios' schema."""
    api = _read("rube/api/descriptors.binpb")
    words = ProtoComments(api)
    found = [Page(f"reference/messages/{_stem(file)}.md", _page(words, file)) for file in api.file]
    scenario = _read("rube/sim/scenario/descriptors.binpb")
    (schema,) = scenario.file
    return [*found, Page("reference/scenario-schema.md", _page(ProtoComments(scenario), schema, "Scenario schema"))]


def _read(path: str) -> FileDescriptorSet:
    return FileDescriptorSet.FromString((_ROOT / path).read_bytes())


def _stem(file: FileDescriptorProto) -> str:
    return PurePosixPath(file.name).stem


def _page(words: ProtoComments, file: FileDescriptorProto, title: str = "") -> str:
    own = [message for message in words.messages.values() if message.file == file.name]
    names = {message.name for message in own}
    enums = [enum for enum in words.enums.values() if _is_in(enum.name, names, file.package, words)]
    parts = [f"# {title or file.name.removeprefix('rube/')}", _comment(file, _SYNTAX) or f"`{file.name}`"]
    parts += list(_services(file))
    for message in own:
        parts += _message(words, message)
        parts += [part for enum in enums if enum.name.rpartition(".")[0] == message.name for part in _enum(enum)]
    parts += [part for enum in enums if enum.name.rpartition(".")[0] == file.package for part in _enum(enum)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _is_in(enum: str, messages: set[str], package: str, words: ProtoComments) -> bool:
    scope = enum.rpartition(".")[0]
    return scope in messages or (scope == package and scope not in words.messages)


def _services(file: FileDescriptorProto) -> Iterator[str]:
    for index, service in enumerate(file.service):
        yield f"## Service {file.package}.{service.name} {{ #{file.package}.{service.name} }}"
        yield _comment(file, (_SERVICE, index))
        rows = []
        for number, method in enumerate(service.method):
            answer = "stream of " * method.server_streaming + f"`{_short(method.output_type)}`"
            request = "stream of " * method.client_streaming + f"`{_short(method.input_type)}`"
            said = cell(_comment(file, (_SERVICE, index, _METHOD, number)))
            rows.append(f"| `{method.name}` | {request} | {answer} | {said} |")
        yield "\n".join(["| call | request | response | |", "|---|---|---|---|", *rows])


def _message(words: ProtoComments, message: MessageWords) -> list[str]:
    rows = [
        f"| `{field.name}` | {field.number} | {_type(words, field)} | {cell(field.comment)} |"
        for field in message.fields
    ]
    table = "\n".join(["| field | number | type | |", "|---|---|---|---|", *rows]) if rows else "No fields."
    rules = "\n".join(
        ["| rule | |", "|---|---|", *(f"| `{rule}` | {cell(said)} |" for rule, said in message.rules)]
        * bool(message.rules)
    )
    return [f"## {message.name} {{ #{message.name} }}", message.comment, table, rules]


def _type(words: ProtoComments, field: FieldWords) -> str:
    target = words.messages.get(field.message)
    name = field.message if target else field.enum
    shown = cell(field.type)
    if target is not None:
        files = {one.file for one in words.messages.values()}
        page = f"{PurePosixPath(target.file).stem}.md" if len(files) > 1 else ""
        return f"[{shown}]({page}#{name})"
    return f"[{shown}](#{name})" if field.enum in words.enums else shown


def _enum(enum: EnumWords) -> list[str]:
    rows = [f"| `{name}` | {cell(said)} |" for name, said in enum.values]
    return [f"## {enum.name} {{ #{enum.name} }}", enum.comment, "\n".join(["| value | |", "|---|---|", *rows])]


def _comment(file: FileDescriptorProto, path: tuple[int, ...]) -> str:
    for place in file.source_code_info.location:
        if tuple(place.path) == path:
            return " ".join(place.leading_comments.split())
    return ""


def _short(name: str) -> str:
    return name.rpartition(".")[2]
