"""The trace: what changes its digest, what doesn't, and what it refuses."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.sim.world.kernel import Trace, World

FIELDS = st.lists(st.one_of(st.text(max_size=5), st.integers(-(10**20), 10**20), st.binary(max_size=5)), max_size=4)
RECORDS = st.lists(st.tuples(st.text(max_size=4), FIELDS), max_size=4)


def digest_of(records: list[tuple[str, list[str | int | bytes]]], *, looking: bool = False) -> str:
    trace = Trace(lambda: 42)
    for kind, fields in records:
        trace.add(kind, *fields)
        if looking:
            trace.digest()
    return trace.digest()


@given(RECORDS, RECORDS)
def test_digests_are_equal_exactly_if_the_records_are(
    first: list[tuple[str, list[str | int | bytes]]], second: list[tuple[str, list[str | int | bytes]]]
) -> None:
    assert (digest_of(first) == digest_of(second)) == (first == second)


@given(RECORDS)
def test_looking_at_the_digest_does_not_change_it(records: list[tuple[str, list[str | int | bytes]]]) -> None:
    assert digest_of(records) == digest_of(records, looking=True)


def test_framing_keeps_apart_what_reads_alike() -> None:
    variants: list[list[str | int | bytes]] = [["ab"], ["a", "b"], [b"ab"], ["1"], [1], [b"1"], [], [""], ["s1:a"]]
    assert len({digest_of([("k", fields)]) for fields in variants}) == len(variants)


def test_time_is_part_of_a_record() -> None:
    times = itertools.count()
    ticking, still = Trace(lambda: next(times)), Trace(lambda: 0)
    for trace in (ticking, still):
        trace.add("x")
        trace.add("x")
    assert ticking.digest() != still.digest()


@pytest.mark.parametrize("field", [1.5, None, True, ["list"], object()])
def test_other_types_are_refused(field: object) -> None:
    with pytest.raises(TypeError, match="use str, int or bytes"):
        Trace(lambda: 0).add("kind", field)  # type: ignore[arg-type]


def test_window_is_bounded_and_the_digest_is_not() -> None:
    bounded, whole = Trace(lambda: 0, records_max=3), Trace(lambda: 0, records_max=None)
    for trace in (bounded, whole):
        for number in range(2000):
            trace.add("n", number)
    assert [record.fields for record in bounded.records] == [(1997,), (1998,), (1999,)]
    assert len(whole.records) == whole.records_total == 2000
    assert bounded.digest() == whole.digest()


def test_record_prints_as_one_line() -> None:
    trace = Trace(lambda: 1_500_000_000)
    trace.add("delivery", "a", 3, b"\x01\xff")
    assert str(trace.records[0]) == "1.500000000 delivery a 3 01ff"


def test_a_world_with_one_timer_a_nanosecond_later_has_another_digest() -> None:
    def digest(delay_ns: int) -> str:
        with World(1) as world:
            world.loop.after_ns(delay_ns, lambda: None)
            world.run_for(1)
            return world.trace.digest()

    assert digest(1000) == digest(1000)
    assert digest(1000) != digest(1001)


def test_the_seed_is_no_part_of_the_trace() -> None:
    def digest(seed: int) -> str:
        with World(seed) as world:
            world.run(lambda: asyncio.sleep(1))
            world.host("a").power_off()
            return world.trace.digest()

    assert digest(1) == digest(2)


def test_the_kernel_records_what_happens_to_hosts_and_processes() -> None:
    async def main() -> None:
        await asyncio.sleep(1)

    with World(1) as world:
        host = world.host("a", drift_ppm=5)
        host.spawn("p", main)
        world.run_for(2)
        host.pause()
        host.resume()
        host.jump_clock(-7)
        host.set_drift(9)
        host.spawn("q", main).kill()
        host.spawn("r", main)
        host.power_off()
        host.power_on()
        lines = [f"{record.kind} {' '.join(map(str, record.fields))}" for record in world.trace.records]
    assert lines == [
        "host a 5 0",
        "start a p 1",
        "end a p 1 exit",
        "pause a",
        "resume a",
        "clock-jump a -7",
        "clock-drift a 9",
        "start a q 1",
        "end a q 1 kill",
        "start a r 1",
        "power-off a",
        "end a r 1 power loss",
        "power-on a",
    ]
