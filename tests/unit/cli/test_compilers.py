"""The compilers of .proto files: the same types and the same errors from each."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.api.types.protos import types_of
from rube.compiler import COMPILERS, compile_protos

BACKUP = """syntax = "proto3";
package acme;
import "acme/targets.proto";
import 'buf/validate/validate.proto';
import "google/protobuf/timestamp.proto";
import "rube/api/resource.proto";
// A copy of something.
message Backup {
  option (api.resource) = { short_names: "bk" };
  string schedule = 1 [(buf.validate.field).string.min_len = 1];
  google.protobuf.Timestamp last = 2;
  Target target = 3;
}
"""
TARGETS = """syntax = "proto3";
package acme;
import public "acme/base.proto";
message Target { Base base = 1; }
"""
BASE = 'syntax = "proto3";\npackage acme;\nmessage Base { string name = 1; }\n'


@pytest.fixture(params=COMPILERS)
def compiler(request: pytest.FixtureRequest) -> str:
    try:
        compile_protos([__file__], compiler=request.param)
    except FailedPreconditionError:
        pytest.skip(f"{request.param} is not installed: pip install grpcio-tools buf-bin")
    except InvalidArgumentError:
        pass  # it is there, and this file is no .proto
    return str(request.param)


@pytest.fixture
def protos(tmp_path: Path) -> Path:
    (tmp_path / "own/acme").mkdir(parents=True)
    (tmp_path / "other/acme").mkdir(parents=True)
    (tmp_path / "own/acme/backup.proto").write_text(BACKUP)
    (tmp_path / "own/acme/not-imported.proto").write_text("this is no .proto")
    (tmp_path / "other/acme/targets.proto").write_text(TARGETS)
    (tmp_path / "other/acme/base.proto").write_text(BASE)
    return tmp_path


def own_files(compiled: FileDescriptorSet) -> dict[str, FileDescriptorProto]:
    """The files without those that the compiler brings, and without comments and places."""
    found = {file.name: file for file in compiled.file if file.package == "acme"}
    for file in found.values():
        file.ClearField("source_code_info")
    return found


def test_every_compiler_gives_the_same_files(protos: Path, compiler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(protos)
    found = compile_protos(["own/acme/backup.proto"], ["own", "other"], compiler)
    default = compile_protos(["own/acme/backup.proto"], ["own", "other"])
    assert own_files(found) == own_files(default)
    assert [*own_files(found)] == ["acme/base.proto", "acme/targets.proto", "acme/backup.proto"]
    assert [obj.metadata.name for obj in types_of(found, ["own/acme/backup.proto"])] == ["acme.Backup"]


def test_every_compiler_keeps_comments(protos: Path, compiler: str) -> None:
    found = compile_protos(
        [str(protos / "other/acme/base.proto"), str(protos / "own/acme/backup.proto")],
        [str(protos / "own"), str(protos / "other")],
        compiler,
    )
    (file,) = [file for file in found.file if file.name == "acme/backup.proto"]
    assert "A copy of something" in [place.leading_comments.strip(" \n.") for place in file.source_code_info.location]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('syntax = "proto3";\nmessage A {\n  strin a = 1;\n}\n', "a.proto:3:3: "),
        ('syntax = "proto3";\nimport "nowhere.proto";\n', "a.proto:2:1: "),
        ('syntax = "proto3";\nmessage A { string a = 1; string b = 1; }\n', "a.proto:2:38: "),
    ],
)
def test_every_compiler_says_file_line_and_column(tmp_path: Path, compiler: str, text: str, place: str) -> None:
    (tmp_path / "a.proto").write_text(text)
    with pytest.raises(InvalidArgumentError) as raised:
        compile_protos([str(tmp_path / "a.proto")], compiler=compiler)
    assert f"{tmp_path}/{place}" in raised.value.message


def test_every_line_about_a_file_that_is_no_proto_is_an_error_of_it(tmp_path: Path, compiler: str) -> None:
    path = tmp_path / "readme.proto"
    path.write_text("# A page\n\nof words, not of messages.\n")
    with pytest.raises(InvalidArgumentError) as caught:
        compile_protos([str(path)], compiler=compiler)
    lines = caught.value.message.splitlines()
    assert lines
    assert all(line.startswith(f"{path}:") for line in lines), lines


def test_a_file_below_no_directory_for_imports_is_named(protos: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"base\.proto is below none of the directories for imports"):
        compile_protos([str(protos / "other/acme/base.proto")], [str(protos / "own")])


def test_a_compiler_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.proto").write_text(BASE)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(FailedPreconditionError, match=r"there is no buf here: .* install buf \(https://"):
        compile_protos([str(tmp_path / "a.proto")], compiler="buf")
