"""The messages of the Rust SDK have the fields that the .proto files give them: `make rust` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from rube.api import cluster_pb2, controller_pb2, systemd_pb2

MESSAGES = Path(__file__).parents[2] / "sdk" / "rust" / "rube-controller" / "src" / "messages"
FIELD = re.compile(r'#\[prost\([^]]*tag = "(\d+)"[^]]*\)\]\s+(?:#\[[^]]*\]\s+)?(?:pub (?:r#)?(\w+):|(\w+)\()')
STRUCT = re.compile(r"pub struct (\w+) \{(.*?)\n\s*\}", re.DOTALL)


def structs(name: str) -> dict[str, set[tuple[str, int]]]:
    """Returns the fields of each struct of a file; those of a oneof are the enum's."""
    text = (MESSAGES / f"{name}.rs").read_text()
    return {
        found[1]: {(field[2], int(field[1])) for field in FIELD.finditer(found[2]) if field[2]}
        for found in STRUCT.finditer(text)
    }


def descriptors(messages: Iterator[Descriptor]) -> Iterator[Descriptor]:
    for message in messages:
        if not message.GetOptions().map_entry:
            yield message
            yield from descriptors(iter(message.nested_types))


@pytest.mark.parametrize(
    ("file", "module"),
    [("api", cluster_pb2), ("api.controller", controller_pb2), ("api.systemd", systemd_pb2)],
)
def test_each_message_has_its_fields(file: str, module: Any) -> None:
    made = structs(file)
    for message in descriptors(iter(module.DESCRIPTOR.message_types_by_name.values())):
        wanted = {(field.name, field.number) for field in message.fields if field.containing_oneof is None}
        assert wanted <= made.get(message.name, set()), f"{message.full_name}: run make rust"
