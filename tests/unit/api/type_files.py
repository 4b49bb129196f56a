"""FileDescriptorSets for tests, from a few words of text format or from .proto source."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parents[3]
_COPIED = {
    "rube/api/resource.proto": "rube/api/resource.proto",
    "buf/validate/validate.proto": "rube/api/types/include/buf/validate/validate.proto",
}
SPEC = 'message_type { name: "Backup" field { name: "schedule" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING } }'


def file(
    body: str = SPEC, *, name: str = "backup.proto", package: str = "acme", syntax: str = "proto3"
) -> FileDescriptorProto:
    """Returns a file with the text format's `body`."""
    found = FileDescriptorProto(name=name, package=package, syntax=syntax)
    return text_format.Parse(body, found)


def field(words: str, *, spec: str = "") -> str:
    """Returns `acme.Backup` with one field: its number is 1, unless the words say more."""
    number = "" if "number:" in words else "number: 1 "
    label = "" if "label:" in words else "label: LABEL_OPTIONAL "
    name = "" if words.startswith("name:") else 'name: "at" '
    return f'message_type {{ name: "Backup" field {{ {name}{number}{label}{words} }} {spec} }}'


@cache
def _buf() -> str:
    found = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    assert found is not None, "buf is not installed: pip install buf-bin"
    return found


def buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_buf(), *arguments], capture_output=True, text=True, check=False)


def compiled(**sources: str) -> FileDescriptorSet:
    """Returns .proto sources compiled by buf, with their imports. Keywords are file names without `.proto`."""
    return compiled_files({f"{name}.proto": source for name, source in sources.items()})


def compiled_files(sources: Mapping[str, str]) -> FileDescriptorSet:
    with tempfile.TemporaryDirectory() as directory:
        copied = {
            name: (ROOT / path).read_text()
            for name, path in _COPIED.items()
            if any(name in source for source in sources.values())
        }
        for name, source in {**sources, **copied}.items():
            (Path(directory) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(directory) / name).write_text(source)
        out = Path(directory) / "out.binpb"
        done = buf("build", directory, "-o", str(out), "--as-file-descriptor-set")
        assert done.returncode == 0, done.stderr + done.stdout
        return FileDescriptorSet.FromString(out.read_bytes())
