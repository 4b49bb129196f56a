"""Types of one's own in scenario files, and objects of them."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from rube.api import ControllerSpec, Type
from rube.compiler import compile_protos
from rube.controllers.spec import SpecController
from rube.sim import judges
from rube.sim.judges import History, PutToRefuse
from rube.sim.scenario import ScenarioError, Simulation, load
from tests.doc_blocks import ROOT
from tests.pushed_types import BACKUP, FIELDS, backup_type

EXAMPLE = ROOT / "examples" / "09-backup"
SCENARIO = """\
name: types
duration: 20s
types: [backup.binpb]
cluster:
  nodes: {count: 1}
workload:
  observers: 1
  steps:
    - {at: 1s, put_file: nightly.textproto}
    - {at: 5s, delete_objects: {type: acme.Backup, names: [nightly]}}
expect:
  - watch_promises
"""
OBJECT = """\
metadata { namespace: "default" name: "nightly" }
spec {
  [rube/acme.Backup] { schedule: "daily" }
}
"""
PROTO = """\
syntax = "proto3";
package acme;
import "rube/api/resource.proto";
// A comment, which no simulated server stores.
message Backup {
  option (api.resource) = { status: "acme.BackupStatus" };
  string schedule = 1;
  string target = 2;
}
message BackupStatus {
  string state = 1;
  uint64 observed_generation = 2;
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    compiled = Type.FromString(backup_type().spec.value).files
    (tmp_path / "backup.binpb").write_bytes(compiled.SerializeToString(deterministic=True))
    (tmp_path / "nightly.textproto").write_text(OBJECT)
    (tmp_path / "backup.yaml").write_text(SCENARIO)
    return tmp_path


def errors(folder: Path, old: str, new: str) -> str:
    """Returns the errors of a scenario, whose text is another one in one place."""
    assert old in SCENARIO
    path = folder / "backup.yaml"
    path.write_text(SCENARIO.replace(old, new))
    with pytest.raises(ScenarioError) as caught:
        load(str(path))
    return str(caught.value.message).replace(f"{folder}/", "")


def test_a_user_pushes_the_type_and_puts_and_deletes_objects_of_it(folder: Path) -> None:
    with Simulation(load(str(folder / "backup.yaml"))) as simulation:
        result = simulation.run()
    assert result.passed, result
    written = [(entry.key, entry.content is not None) for entry in simulation.cluster.history.log]
    assert [key for key, _ in written if key.startswith("api.Type/")] == ["api.Type/acme.Backup"]
    assert [there for key, there in written if key == "acme.Backup/default/nightly"] == [True, False]


def test_a_proto_file_gives_the_same_as_what_it_compiles_to(folder: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs a compiler: pip install grpcio-tools")
    (folder / "acme").mkdir()
    (folder / "acme" / "backup.proto").write_text(PROTO)
    (folder / "proto.yaml").write_text(SCENARIO.replace("backup.binpb", "acme/backup.proto"))
    (compiled,) = load(str(folder / "backup.yaml")).types
    (from_text,) = load(str(folder / "proto.yaml")).types
    files = [Type.FromString(obj.spec.value).files.file for obj in (compiled, from_text)]
    assert [len(file) for file in files] == [1, 1]
    assert files[0][0].message_type[0].field[0].name == files[1][0].message_type[0].field[0].name == "schedule"
    assert not files[1][0].HasField("source_code_info")


def test_a_file_that_is_no_set_is_an_error_of_the_types(folder: Path) -> None:
    (folder / "backup.binpb").write_bytes(b"\xff\xff")
    text = errors(folder, "", "")
    assert text.startswith("backup.yaml:3: backup.binpb is no FileDescriptorSet: make it with protoc")


def test_a_set_without_a_type_is_refused(folder: Path) -> None:
    (folder / "backup.binpb").write_bytes(FileDescriptorSet().SerializeToString())
    text = errors(folder, "", "")
    assert text.startswith("backup.yaml:3: backup.binpb: no message has the option (api.resource)")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("types: [backup.binpb]", "types: [other.binpb]", "backup.yaml:3: other.binpb: no such file in types[0]"),
        ("[backup.binpb]", "[backup.binpb, backup.binpb]", "there is a type acme.Backup already: leave one out"),
        (
            "names: [nightly]",
            "names: [nihgtly]",
            'unknown backup "nihgtly" in workload.steps[1].delete_objects',
        ),
        ("names: [nightly]", "names: []", "backup.yaml:10: no names"),
        ("type: acme.Backup", "type: acme.Bakcup", "did you mean 'acme.Backup'"),
        ("nightly.textproto", "daily.textproto", "backup.yaml:9: daily.textproto: no such file"),
    ],
)
def test_each_mistake_is_named_with_its_line(folder: Path, old: str, new: str, expected: str) -> None:
    assert expected in errors(folder, old, new)


def test_an_object_that_does_not_parse_is_an_error_with_both_places(folder: Path) -> None:
    (folder / "nightly.textproto").write_text(OBJECT.replace("schedule", "scheduel"))
    text = errors(folder, "", "")
    assert "backup.yaml:9: nightly.textproto:3:" in text
    assert "schedule" in text


@pytest.mark.parametrize(("example", "module"), [("09-backup", "backup"), ("10-files", "files")])
def test_the_class_of_an_example_is_made_from_its_proto_file(example: str, module: str) -> None:
    pytest.importorskip("grpc_tools", reason="needs a compiler: pip install grpcio-tools")
    folder, proto = ROOT / "examples" / example, f"{module}.proto"
    program = f"import sys, {module}_pb2; sys.stdout.buffer.write({module}_pb2.DESCRIPTOR.serialized_pb)"
    made = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, check=True)
    (compiled,) = [file for file in compile_protos([str(folder / proto)]).file if file.name == proto]
    compiled.ClearField("source_code_info")
    for message in compiled.message_type:
        for field in message.field:
            field.ClearField("json_name")  # protoc writes it into sets alone
    assert FileDescriptorProto.FromString(made.stdout) == compiled


class Bringing(SpecController):
    """Brings the type of `backup_type`, and decides nothing."""

    spec = ControllerSpec(name="bringing", type=BACKUP, types=Type.FromString(backup_type().spec.value).files)


def test_a_running_controller_says_that_its_type_has_a_newer_version(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newer = Type.FromString(backup_type({**FIELDS, "keep": 3}).spec.value).files
    (folder / "next.binpb").write_bytes(newer.SerializeToString())
    (folder / "newer.yaml").write_text(
        f"""{{name: newer, duration: 12s, cluster: {{controllers: ["{__name__}:Bringing"]}},
            workload: {{steps: [{{at: 8s, put_file: next.binpb}}]}}, expect: [acknowledged_writes]}}"""
    )
    caplog.set_level(logging.INFO, "rube.controllers")
    with Simulation(load(str(folder / "newer.yaml"))) as simulation:
        assert simulation.run().passed
    said = [record.getMessage() for record in caplog.records if BACKUP in record.getMessage()]
    assert said[0] == "bringing: pushed type acme.Backup", "no watch asked for the type before"
    assert [each.partition(",")[0] for each in said[1:]] == [
        "bringing: type acme.Backup has a newer version in the cluster"
    ]


@pytest.mark.parametrize(
    ("fields", "words", "found"),
    [
        ({"target": 2}, "acme.Backup.schedule", ""),
        ({"target": 2}, "acme.Backup.target", "put of acme.Backup: refused without 'acme.Backup.target'"),
        ({**FIELDS, "keep": 3}, "acme.Backup", "put of acme.Backup: acknowledged, and not refused"),
    ],
)
def test_a_put_that_a_step_wants_refused_is_judged_by_its_answer(
    fields: dict[str, int], words: str, found: str, folder: Path
) -> None:
    (folder / "next.binpb").write_bytes(Type.FromString(backup_type(fields).spec.value).files.SerializeToString())
    step = f"{{at: 8s, put_file: next.binpb, refused: {words}}}"
    (folder / "next.yaml").write_text(SCENARIO.replace("expect:", f"    - {step}\nexpect:"))
    with Simulation(load(str(folder / "next.yaml"))) as simulation:
        (verdict,) = [each for each in simulation.run().verdicts if each.check == "refused"]
    assert verdict.passed == (not found)
    assert found in " ".join(verdict.offending)


def test_a_put_that_nobody_answered_was_not_refused() -> None:
    history = History(to_refuse=[PutToRefuse(at_ns=1, text="put of x", words="no")])
    assert judges.refused(history).offending == ("0.000s put of x: no answer",)


def test_only_put_file_can_be_refused(folder: Path) -> None:
    says = errors(folder, "names: [nightly]}}", "names: [nightly]}, refused: no}")
    assert "a refused delete_objects is not checked" in says
