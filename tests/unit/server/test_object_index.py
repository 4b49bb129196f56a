"""The index of objects keeps its bound and what is in use, and takes changes that come while it is filled."""

from __future__ import annotations

import pytest

from rube.api.times import NS_PER_S
from rube.server import object_index
from rube.server.object_index import Attribute, ObjectIndex, Values
from rube.store import Change, Record

TYPE = "api.systemd.Unit"


class Clock:
    now_s = 0

    def monotonic_ns(self) -> int:
        return self.now_s * NS_PER_S


def make(keys_max: int = 10_000) -> tuple[ObjectIndex, Clock]:
    clock = Clock()
    return ObjectIndex(clock, keys_max=keys_max), clock  # type: ignore[arg-type]  # it asks for the time alone


def attribute(label: str) -> Attribute:
    return Attribute(TYPE, label)


def begun(index: ObjectIndex, label: str) -> Values:
    assert index.begin(attribute(label), 1) is None, "it is asked for once only"
    values = index.begin(attribute(label), 1)
    assert values is not None
    return values


def key(number: int) -> bytes:
    return f"{TYPE}/n/o{number:06}".encode()


def note(index: ObjectIndex, number: int, **labels: str) -> None:
    index.note(Change(Record(key(number), b"", 2, 2), False, None), lambda: (None, labels))


def fill(values: Values, numbers: range, value: str) -> None:
    for number in numbers:
        values.add(key(number), value)


def test_changes_cannot_fill_it_past_its_bound() -> None:
    index, _ = make(keys_max=100)
    begun(index, "node").complete()
    for number in range(100):
        note(index, number, node="a")
    assert index.get(attribute("node")) is not None
    note(index, 100, node="a")
    assert index.get(attribute("node")) is None


def test_one_that_alone_fits_is_not_too_large_for_good() -> None:
    index, _ = make(keys_max=300)
    fill(begun(index, "big"), range(250), "x")
    small = begun(index, "small")
    fill(small, range(100), "y")
    index.get(attribute("big"))  # now the small one was asked for longest ago
    assert not index.has_room(attribute("small"), small)
    assert index.begin(attribute("small"), 1) is not None


def test_one_that_alone_is_too_large_makes_no_other_one_go() -> None:
    index, _ = make(keys_max=100)
    fill(begun(index, "node"), range(10), "a")
    large = begun(index, "app")
    fill(large, range(101), "x")
    assert not index.has_room(attribute("app"), large)
    assert index.get(attribute("node")) is not None
    assert index.begin(attribute("app"), 1) is None


def test_made_up_labels_evict_none_that_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_index, "ATTRIBUTES_MAX", 2)
    index, clock = make()
    begun(index, "node")
    begun(index, "app")
    assert [index.begin(attribute("other"), 1) for _ in range(3)] == [None] * 3
    clock.now_s = 61
    assert index.get(attribute("node")) is not None
    assert index.begin(attribute("other"), 1) is not None, "app was not asked for in the last minute"
    assert index.get(attribute("app")) is None
    assert index.get(attribute("node")) is not None


def test_what_changed_while_it_was_filled_stays_changed() -> None:
    index, _ = make()
    values = begun(index, "node")
    note(index, 1, node="b")
    values.add(key(1), "a")
    values.complete()
    assert values.candidates(("a",), 2) == set()
    assert values.candidates(("b",), 2) == {key(1)}


def test_a_value_of_most_objects_is_left_to_a_scan() -> None:
    index, _ = make()
    values = begun(index, "app")
    fill(values, range(200), "most")
    fill(values, range(200, 217), "few")
    values.complete()
    found = [index.candidates(attribute("app"), (value,), 2) for value in ("most", "few")]
    assert [None if keys is None else len(keys) for keys in found] == [None, 17]
