"""The first difference of two runs, and what it can have caused."""

from __future__ import annotations

import pytest

from rube.sim.story.differences import Difference, difference, difference_lines, read_trace
from rube.sim.story.happenings import Happenings, happenings
from rube.sim.world.kernel.trace import TraceRecord
from tests.unit.sim_story.test_happenings import S, record


def told(word: str, apart: str, later_s: float = 0) -> Happenings:
    """a tells b a word; b tells c nothing; c does something apart."""
    return happenings(
        [
            *(record(0, "host", name, 0, 0) for name in "abc"),
            record(1, "start", "c", apart, 1),
            record(1 + later_s, "send", "a", "b", 1, "data", word.encode(), word),
            record(2 + later_s, "deliver", "a", "b", 1, "data", word.encode()),
            record(3 + later_s, "decide", "b", "placement", f"api.systemd.Unit/default/{word}", "1", "2"),
        ],
        9 * S,
    )


def found(one: Happenings, other: Happenings) -> Difference:
    result = difference(one, other)
    assert result is not None
    return result


def test_runs_that_differ_in_their_times_alone_are_the_same() -> None:
    assert difference(told("x", "daemon"), told("x", "daemon", later_s=0.5)) is None


def test_what_a_difference_reaches_is_told_apart_from_what_it_cannot() -> None:
    result = found(told("x", "one"), told("y", "other"))
    assert [event and event.host for event in result.first] == ["a", "a"]
    assert [event and event.host for event in result.parted] == ["c", "c"]
    assert {one.event.host for one in result.caused} == {"a", "b"}
    assert {one.event.host for one in result.others} == {"c"}


def test_a_run_that_ends_earlier_on_a_host_differs_where_it_ends() -> None:
    whole, cut = told("x", "one"), told("x", "one")
    cut.events.pop()
    result = found(whole, cut)
    assert result.first[1] is None
    assert "+ B: nothing more happens on that host" in "\n".join(difference_lines(result, ("A", "B")))


def test_a_written_trace_reads_back() -> None:
    records = [
        record(0, "host", "a", "1", "-2"),
        record(1, "send", "a", "b", "connect 7823"),
        record(1, "send", "a", "b", "4", "data", "00ff", "Put: OK, Unit/default/web-1 @3"),
        record(2, "deliver", "a", "b", "connect 7823"),
        record(2, "deliver", "a", "b", "4", "data", "00ff"),
        record(3, "end", "a", "rubelet", "1", "power loss"),
    ]
    assert read_trace("".join(f"{one}\n" for one in records)) == [TraceRecord(*one) for one in records]


def test_a_line_that_is_no_record_is_named() -> None:
    with pytest.raises(ValueError, match="line 2 is no record of a trace: 'hello'"):
        read_trace("0.000000000 host a 1 2\nhello\n")
