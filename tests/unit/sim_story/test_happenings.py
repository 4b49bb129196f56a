"""Records become happenings, with causes and effects, and what lasts."""

from __future__ import annotations

from rube.sim.judges import Verdict
from rube.sim.story.happenings import LOST, Band, Happenings, UnitSpan, bands, happenings, unit_spans
from rube.sim.story.story import pins
from rube.sim.world.kernel.trace import TraceRecord

S = 1_000_000_000


def record(at_s: float, kind: str, *fields: str | int | bytes) -> TraceRecord:
    return TraceRecord(round(at_s * S), kind, fields)


def told() -> Happenings:
    """a tells b, b tells c; a message to c is lost; d and a later event of a have nothing to do with c's end."""
    return happenings(
        [
            *(record(0, "host", name, 0, 0) for name in "abcd"),
            record(1, "send", "a", "b", 1, "data", b"1", "first"),
            record(1, "send", "a", "c", 2, "data", b"2", "never there"),
            record(2, "start", "d", "daemon", 1),
            record(3, "deliver", "a", "b", 1, "data", b"1"),
            record(4, "send", "b", "c", 3, "data", b"3", "second"),
            record(4, "start", "a", "daemon", 1),
            record(5, "deliver", "b", "c", 3, "data", b"3"),
            record(6, "end", "c", "daemon", 1, "kill"),
        ],
        7 * S,
    )


def test_the_two_ends_of_a_message_know_each_other() -> None:
    events = told().events
    assert [event.other for event in events] == [3, LOST, -1, 0, 6, -1, 4, -1]
    assert (events[3].host, events[3].text) == ("b", "from a: first")


def test_the_past_goes_through_messages_and_leaves_out_what_came_too_late() -> None:
    assert told().past(7) == [0, 3, 4, 6, 7]


def test_the_future_is_what_the_event_reached() -> None:
    assert told().future(0) == [0, 1, 3, 4, 5, 6, 7]
    assert told().future(2) == [2]


def test_what_was_under_way_on_a_broken_connection_is_lost() -> None:
    frames = [
        record(1, "send", "a", "b", 1, "data", b"1", ""),
        record(2, "send", "a", "b", 1, "reset", b"2", ""),
        record(3, "deliver", "a", "b", 1, "reset", b"2"),
    ]
    assert [event.other for event in happenings(frames, 4 * S).events] == [LOST, 2, 1]


def test_faults_last_until_they_are_undone() -> None:
    records = [
        record(1, "fault", "isolate", "a"),
        record(2, "fault", "partition", "a", "b", "one way"),
        record(3, "fault", "heal", "a"),
        record(4, "end", "b", "daemon", 1, "kill"),
        record(4, "end", "b", "job", 1, "exit"),
        record(5, "start", "b", "daemon", 2),
        record(6, "power-off", "a"),
    ]
    assert bands(records, ["a", "b"], 9 * S) == [
        Band("a", 1 * S, 3 * S, "cut off"),
        Band("a", 2 * S, 3 * S, "cut from a to b"),
        Band("b", 2 * S, 3 * S, "cut from a to b"),
        Band("b", 4 * S, 5 * S, "daemon is down"),
        Band("a", 6 * S, 9 * S, "without power"),
    ]


def test_a_unit_ends_with_the_power_of_its_machine() -> None:
    records = [
        record(1, "unit", "a", "rube-default.web-1.service", "active", "running", "success", 0),
        record(2, "power-off", "a"),
        record(3, "unit", "a", "rube-default.web-1.service", "inactive", "dead", "success", 0),
    ]
    assert unit_spans(records, 4 * S) == [
        UnitSpan("a", "Unit/default/web-1", 1 * S, 2 * S, "active"),
        UnitSpan("a", "Unit/default/web-1", 3 * S, 4 * S, "inactive"),
    ]


def test_a_pin_is_where_the_first_offending_line_says() -> None:
    line = "20.000s default/web-1 is inactive on worker-1"
    verdict = Verdict(check="unit", passed=False, text="not so", offending=[line])
    (pin,) = pins([verdict, Verdict(check="other", passed=True, text="")], ["worker-10", "worker-1"], 60 * S)
    assert (pin.at_ns, pin.host, pin.objects) == (20 * S, "worker-1", ("default/web-1",))


def test_a_verdict_without_a_time_is_pinned_to_the_end() -> None:
    (pin,) = pins([Verdict(check="x", passed=False, text="no change was told")], ["a"], 60 * S)
    assert (pin.at_ns, pin.host) == (60 * S, "")
