"""The printed forms of objects."""

from __future__ import annotations

import json

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import Lease, List, Metadata, Node, NodeStatus, Object, Unit, UnitStatus, textproto
from rube.api.types import pack
from rube.client import Change
from ructl.cluster_types import TYPES
from ructl.output import groups, print_each, print_list
from ructl.table import table
from ructl.watch import event_of
from tests.pushed_types import backup, backup_type, kind_from

_SECOND_NS = 1_000_000_000


def _unit(name: str, status: UnitStatus | None = None, **labels: str) -> Object:
    return Object(
        metadata=Metadata(
            namespace="system",
            name=name,
            labels=labels,
            revision=7,
            generation=2,
            create_time=Timestamp(seconds=100),
        ),
        spec=pack(Unit(description=f"ü {name}")),
        status=pack(status) if status else None,
    )


RUNNING = UnitStatus(active_state="active", sub_state="running", result="success", observed_generation=2)
FAILED = UnitStatus(
    active_state="failed", sub_state="failed", result="protocol", observed_generation=1, message="no pid\nfile"
)


def test_a_table_shows_node_state_age_and_message() -> None:
    lines = table([_unit("a", RUNNING, node="w1"), _unit("long-name", FAILED), _unit("c")], now_ns=400 * _SECOND_NS)
    assert lines == [
        "NAMESPACE  NAME       NODE  STATE                   AGE  REVISION  MESSAGE",
        "system     a          w1    active (running)        5m   7         -",
        "system     long-name  -     old: failed (protocol)  5m   7         no pid file",
        "system     c          -     pending                 5m   7         -",
    ]


def test_a_state_says_why_a_unit_waits() -> None:
    status = UnitStatus(active_state="activating", sub_state="auto-restart", result="protocol")
    status.observed_generation = 2
    assert "  activating (auto-restart, protocol)  " in table([_unit("a", status)], now_ns=0)[1]


def test_a_table_shows_nothing_that_steers_the_terminal() -> None:
    status = UnitStatus(active_state="failed", message="\x1b[2Jgone\u202e", observed_generation=2)
    assert table([_unit("a", status)], now_ns=0)[1].endswith("?[2Jgone?")


def test_a_readiness_of_a_newer_build_is_shown_as_its_number() -> None:
    status = NodeStatus()
    status.readiness = 9  # type: ignore[assignment]
    node = Object(metadata=Metadata(name="w1"), spec=pack(Node()), status=pack(status))
    assert "readiness 9" in table([node], now_ns=0)[1]


def test_a_column_of_ones_own_may_have_the_name_of_a_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = backup_type(columns=[{"name": "STATE", "path": "status.state"}])
    kind = kind_from(pushed)
    monkeypatch.setitem(TYPES._kinds, kind.name, kind)
    obj = backup("nightly", of=pushed)
    assert kind.status is not None
    obj.status.CopyFrom(pack(kind.status(state="copying")))
    assert table([obj], now_ns=0)[1].split() == ["default", "nightly", "copying", "0"]


def test_a_table_leaves_empty_columns_out() -> None:
    node = Object(
        metadata=Metadata(name="w1", revision=3),
        spec=pack(Node()),
        status=pack(NodeStatus(readiness=NodeStatus.READY)),
    )
    assert table([node], now_ns=0) == ["NAME  STATE  REVISION", "w1    ready  3"]


def test_a_node_that_takes_no_units_is_cordoned() -> None:
    node = Object(
        metadata=Metadata(name="w1"),
        spec=pack(Node(unschedulable=True)),
        status=pack(NodeStatus(readiness=NodeStatus.READY)),
    )
    assert table([node], now_ns=0) == ["NAME  STATE            REVISION", "w1    ready, cordoned  0"]


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200_000, "2d"), (-5, "0s")],
)
def test_ages_are_short(seconds: int, age: str) -> None:
    assert table([_unit("a")], now_ns=(100 + seconds) * _SECOND_NS)[1].split()[3] == age


def test_a_lease_shows_its_holder() -> None:
    lease = Object(metadata=Metadata(name="leader"), spec=pack(Lease(holder="host-1")))
    assert "held by host-1" in table([lease], now_ns=0)[1]


def test_what_get_prints_can_be_put(capsys: pytest.CaptureFixture[str]) -> None:
    objects = [_unit("a", RUNNING), _unit("b")]
    print_each(objects, "textproto")
    documents = textproto.parse_documents(capsys.readouterr().out, "x")
    assert [document.objects for document in documents] == [(objects[0],), (objects[1],)]


def test_what_list_prints_can_be_put_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    objects = [_unit("a", RUNNING), _unit("b")]
    print_list(objects, "textproto")
    (document,) = textproto.parse_documents(capsys.readouterr().out, "x")
    assert list(document.objects) == objects


def test_a_long_list_is_printed_in_groups_that_every_store_takes(capsys: pytest.CaptureFixture[str]) -> None:
    objects = [_unit(f"u{number}") for number in range(250)]
    print_list(objects, "textproto")
    text = capsys.readouterr().out
    assert [len(document.objects) for document in textproto.parse_documents(text, "x")] == [100, 100, 50]
    assert list(textproto.parse(text, List, filename="x").items) == objects


def test_groups_are_bounded_in_bytes() -> None:
    large = _unit("a")
    large.metadata.annotations["x"] = "x" * 700_000
    assert [len(group) for group in groups([large, large, _unit("b"), large])] == [1, 2, 1]


def test_json_names_fields_as_the_protos_do(capsys: pytest.CaptureFixture[str]) -> None:
    print_list([_unit("a", RUNNING)], "json")
    text = capsys.readouterr().out
    (item,) = json.loads(text)["items"]
    assert item["status"]["active_state"] == "active"
    assert item["spec"]["@type"] == "rube/api.systemd.Unit"
    assert "ü a" in text


def test_json_of_a_type_that_is_not_known_is_an_error_of_one_line() -> None:
    from click import ClickException

    newer = Object(spec=Any(type_url="rube/api.Later", value=b""))
    with pytest.raises(ClickException, match="JSON cannot show"):
        print_each([newer], "json")


def test_names_are_keys(capsys: pytest.CaptureFixture[str]) -> None:
    print_each([_unit("a")], "name")
    assert capsys.readouterr().out == "api.systemd.Unit/system/a\n"


def test_events_are_updates_with_what_is_and_deletes_with_what_was() -> None:
    from rube.api.keys import key_of

    old, new = _unit("a"), _unit("a", RUNNING)
    update = event_of(Change(key_of(old), old, new, 8))
    delete = event_of(Change(key_of(old), old, None, 9))
    assert update.update == new
    assert delete.delete.metadata.revision == 9
    assert delete.delete.spec == old.spec
    assert old.metadata.revision == 7
