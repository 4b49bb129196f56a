"""The tables of docs/units.md, of the comments in rube/api/systemd.proto: `python -m tests.unit_tables` writes them."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc_tools
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs/units.md"
MESSAGES = ("Unit", "Condition", "StartLimit", "NodeLost", "Service", "Install", "UnitStatus")
BEGIN, END = "<!-- fields: made by tests/unit_tables.py -->", "<!-- end of fields -->"
_MESSAGE, _ENUM, _NESTED_MESSAGE, _NESTED_ENUM, _FIELD, _VALUE = 4, 5, 3, 4, 2, 2
"""Field numbers of FileDescriptorProto, DescriptorProto and EnumDescriptorProto: the parts of a path."""


class Comments:
    """The comment before each declaration, by its path."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            out = f"{directory}/set"
            include = Path(grpc_tools.__file__).parent / "_proto"
            code = protoc.main(
                [
                    *("protoc", f"-I{REPOSITORY}", f"-I{include}", "--include_source_info"),
                    *(f"--descriptor_set_out={out}", "rube/api/systemd.proto"),
                ]
            )
            assert code == 0, "protoc failed"
            (self.file,) = FileDescriptorSet.FromString(Path(out).read_bytes()).file
        self._found = {
            tuple(place.path): " ".join(place.leading_comments.split())
            for place in self.file.source_code_info.location
            if place.leading_comments
        }

    def of(self, *path: int) -> str:
        return self._found.get(path, "")


def declarations(comments: Comments) -> Iterator[tuple[str, str, str]]:
    """Of all messages for users: `message`, `enum`, `field` or `value`, the name, the comment."""
    file: FileDescriptorProto = comments.file
    for index, message in enumerate(file.message_type):
        if message.name in MESSAGES:
            yield from _of_message(comments, message, message.name, (_MESSAGE, index))


def _of_message(
    comments: Comments, message: DescriptorProto, name: str, path: tuple[int, ...]
) -> Iterator[tuple[str, str, str]]:
    yield "message", name, comments.of(*path)
    for index, field in enumerate(message.field):
        yield "field", f"{name}.{field.name}", comments.of(*path, _FIELD, index)
    for index, enum in enumerate(message.enum_type):
        yield from _of_enum(comments, enum, f"{name}.{enum.name}", (*path, _NESTED_ENUM, index))
    for index, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _of_message(comments, nested, f"{name}.{nested.name}", (*path, _NESTED_MESSAGE, index))


def _of_enum(
    comments: Comments, enum: EnumDescriptorProto, name: str, path: tuple[int, ...]
) -> Iterator[tuple[str, str, str]]:
    yield "enum", name, comments.of(*path)
    for index, value in enumerate(enum.value):
        yield "value", f"{name}.{value.name}", comments.of(*path, _VALUE, index)


def tables() -> str:
    """All of them, as Markdown."""
    lines: list[str] = []
    for kind, name, comment in declarations(Comments()):
        if kind in ("message", "enum"):
            lines += ["", f"### {name}", "", comment, "", "| | |", "|---|---|"]
        else:
            lines.append(f"| `{name.rpartition('.')[2]}` | {comment.replace('|', chr(92) + '|')} |")
    return "\n".join(lines).strip()


def with_tables(page: str) -> str:
    """The page with the tables of now between its marks."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n\n{tables()}\n\n{END}", page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
    sys.exit(0)
