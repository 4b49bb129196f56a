"""`ructl explain`: every type and field, in the words of the protos."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rube.api.types import BUILTIN
from ructl.explain import command, explain, load_comments
from ructl.main import run
from ructl.proto_comments import ProtoComments


def said(path: str, **how: bool) -> str:
    return "\n".join(explain(load_comments(), path, **how))


def test_a_field_is_told_with_its_type_comment_and_values() -> None:
    text = said("Unit.state")
    assert text.startswith("state: State\n  The wanted state.")
    assert "STOPPED" in text
    assert "Installed but down" in text


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("unit", "api.systemd.Unit  (rube/api/systemd.proto)"),
        ("api.systemd.Unit.service.exec", "api.systemd.Service.Exec"),
        ("Unit.spec.service.environment", "environment: map<string, string>"),
        ("Unit.service.exec.start", "start: repeated string\n  The service itself (ExecStart=)"),
        ("Unit.status.active_state", "`active`, `reloading`"),
        ("Unit.metadata.labels", "labels: map<string, string>"),
        ("Node", "A machine with a rubelet."),
        ("Object.metadata.revision", "Set by the server."),
        ("api.systemd.Service.Kill.signal", "KillSignal="),
    ],
)
def test_a_path(path: str, part: str) -> None:
    assert part in said(path)


def test_every_type_is_explained_to_its_depth() -> None:
    for kind in BUILTIN.kinds():
        text = said(kind.name, recursive=True)
        for field in kind.spec.DESCRIPTOR.fields:
            assert f"  {field.name}" in text


def test_what_is_shown_is_what_the_generated_code_has() -> None:
    comments = load_comments()
    for kind in BUILTIN.kinds():
        for message in filter(None, (kind.spec, kind.status)):
            shown = comments.message(message.DESCRIPTOR.full_name).fields
            assert [(field.name, field.number) for field in shown] == [
                (field.name, field.number) for field in message.DESCRIPTOR.fields
            ]


def test_types_of_users_are_explained_from_their_own_descriptors() -> None:
    files = FileDescriptorSet()
    file = files.file.add(name="acme.proto", package="acme")
    message = file.message_type.add(name="Backup")
    message.field.add(name="schedule", number=1, type=9, label=1)
    file.source_code_info.location.add(path=[4, 0, 2, 0], leading_comments=" When,\n in cron's words.\n")
    file.source_code_info.location.add(path=[4, 0], leading_comments=" Copies.\n")
    assert list(explain(ProtoComments(files), "Backup")) == [
        "acme.Backup  (acme.proto)",
        "  Copies.",
        "",
        "Fields:",
        "  schedule  string  When, in cron's words.",
    ]


@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("Unit.service.nice", "Rules: at least -20; at most 19."),
        ("Unit.service.umask", "Rules: matches ^0*[0-7]{0,4}$."),
        ("Unit.service.status.success", "Rules: each item at least 0; each item at most 255."),
        ("Unit.service.restart", "Rules: a value that its enum has."),
        ("Unit.node_lost.move_after", "Rules: more than 0; finite."),
    ],
)
def test_a_fields_rules_are_said_in_words(path: str, rules: str) -> None:
    assert f"  {rules}" in list(explain(load_comments(), path))


def test_the_rules_of_a_message_are_said_after_its_fields() -> None:
    lines = list(explain(load_comments(), "Service"))
    assert lines[lines.index("Rules:") + 1].startswith("  exec.start.several")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("Unti", "there is no message 'Unti'; did you mean 'Unit'?"),
        ("Unit.servce", "api.systemd.Unit has no field 'servce'; did you mean 'service'?"),
        ("Unit.enabled.x", "enabled is bool: it has no fields"),
        ("Lease.status", "objects of type api.Lease have no status"),
    ],
)
def test_a_wrong_path(path: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", path]) == 2
    assert capsys.readouterr().err.startswith(f"ructl: {complaint}")


def test_a_type_that_is_not_known_says_that_the_named_server_could_not_be_asked() -> None:
    result = CliRunner().invoke(command, ["acme.Backup", "--server", "127.0.0.1:1"])
    assert result.exit_code == 2
    assert "no server answers at 127.0.0.1:1" in result.output
