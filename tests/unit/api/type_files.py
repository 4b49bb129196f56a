"""FileDescriptorSets for tests, from a few words of text format or from .proto source."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from rube.api.errors import InvalidArgumentError
from rube.api.types.files import load

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


BACKUP = """
    syntax = "proto3";
    package acme;
    import "google/protobuf/any.proto";
    import "google/protobuf/duration.proto";
    import "google/protobuf/struct.proto";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    import "rube/api/resource.proto";
    import public "targets.proto";
    message Backup {
      option (api.resource) = { status: "acme.BackupStatus" short_names: "bk" };
      reserved 30 to 40, 50 to max;
      reserved "old";
      string schedule = 1;
      optional int32 keep = 2;
      map<string, Target> targets = 3;
      oneof how { string command = 4; Target copy = 5; }
      google.protobuf.Timestamp at = 6;
      google.protobuf.Duration every = 7;
      google.protobuf.Any more = 8;
      google.protobuf.Struct settings = 9;
      google.protobuf.Int32Value limit = 10;
      Mode mode = 11;
      repeated Backup children = 12;
      message Step { repeated double weights = 1; enum Kind { KIND_UNSPECIFIED = 0; COPY = 1; } Kind kind = 2; }
      repeated Step steps = 13;
    }
    enum Mode { option allow_alias = true; MODE_UNSPECIFIED = 0; FULL = 1; WHOLE = 1; }
    message BackupStatus { google.protobuf.Timestamp last = 1; }
"""
TARGETS = 'syntax = "proto3"; package acme; message Target { string node = 1; bytes key = 2; }'


def backup() -> FileDescriptorSet:
    return compiled(backup=BACKUP, targets=TARGETS)


def refused(*given: FileDescriptorProto, root: str = "acme.Backup", status: str = "") -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        load(FileDescriptorSet(file=given), root=root, status=status)
    assert caught.value.metadata["field"] == "files"
    return caught.value
