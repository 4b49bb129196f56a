"""`ructl events`: which events it shows, and how."""

from __future__ import annotations

from collections.abc import Sequence

import click
import pytest

from rube.api import CoreEvent
from rube.api.times import NS_PER_S
from ructl.events import _asked, _line, _table, words_of

NOW_S = 10_000


def event(kind: str = "api.systemd.Unit", name: str = "web", **fields: object) -> CoreEvent:
    made = CoreEvent(reason="Failed", message="failed (exit-code,\n status 3)", count=1, type=CoreEvent.WARNING)
    made.regarding.type, made.regarding.name = kind, name
    made.regarding.namespace = "" if kind == "api.Node" else "system"
    made.last_time.FromSeconds(NOW_S - 60)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def shows(
    seen: CoreEvent,
    names: Sequence[str] = (),
    *,
    type_name: str | None = None,
    namespace: str | None = None,
    severity: str | None = None,
    since_ns: int | None = None,
) -> bool:
    _, wanted = _asked(type_name, namespace, names, severity, since_ns)
    return wanted(seen)


def test_objects_are_chosen_by_type_namespace_and_name() -> None:
    assert shows(event())
    assert shows(event(), ["web"])
    assert shows(event(), ["system/web"])
    assert shows(event(), ["api.systemd.Unit/system/web"])
    assert not shows(event(), ["default/web"])
    assert not shows(event(), ["other"])
    assert not shows(event(), type_name="Node")
    assert not shows(event(), namespace="default")


def test_events_are_chosen_by_type_and_time() -> None:
    assert shows(event(), severity="WARNING")
    assert shows(event(), severity="warning")
    assert not shows(event(), severity="normal")
    assert shows(event(), since_ns=(NOW_S - 60) * NS_PER_S)
    assert not shows(event(), since_ns=(NOW_S - 59) * NS_PER_S)


def test_the_server_is_asked_for_one_namespace_where_it_can_be() -> None:
    query, _ = _asked(None, None, ["system/web"], None, None)
    assert (query.type, query.namespace) == ("core.Event", "system")
    query, _ = _asked("Node", None, ["worker-1"], None, None)
    assert query.namespace == "default", "that of objects outside namespaces"
    assert shows(event("api.Node", "worker-1"), ["worker-1"], type_name="Node")


def test_an_unknown_type_is_wrong_usage() -> None:
    with pytest.raises(click.UsageError, match="'Unti' is not a type of object"):
        _asked("Unti", None, [], None, None)


def test_a_table_has_a_line_an_event() -> None:
    lines = _table([event(), event("api.Node", "worker-1", count=12, type=CoreEvent.NORMAL)], NOW_S * NS_PER_S)
    assert lines == [
        "LAST  COUNT  TYPE     REASON  OBJECT           MESSAGE",
        "60s   1      warning  Failed  Unit system/web  failed (exit-code, status 3)",
        "60s   12     normal   Failed  Node worker-1    failed (exit-code, status 3)",
    ]


def test_a_type_that_this_ructl_does_not_know_is_a_number() -> None:
    assert "  7  " in _table([event(type=7)], NOW_S * NS_PER_S)[1]


def test_a_followed_event_is_a_line_with_its_time() -> None:
    line = "1970-01-01T02:45:40Z  warning  Failed  Unit system/web  failed (exit-code, status 3)"
    assert _line(event()) == line
    assert _line(event(count=3)) == f"{line} (3 times)"


def test_an_event_of_a_known_object_is_words() -> None:
    assert words_of(event(message="x"), NOW_S * NS_PER_S) == "60s ago: warning Failed: x"
    assert words_of(event(message="x", count=2), NOW_S * NS_PER_S) == "60s ago: warning Failed, 2 times: x"
