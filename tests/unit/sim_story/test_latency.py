"""The latencies of a story: one row a change and watch, its phase, the two formats, the data of a page."""

from __future__ import annotations

import csv
import json

import pytest

from rube.sim.judges import Commit, Delivery, WatchEvent
from rube.sim.story.happenings import Band
from rube.sim.story.latency import AFTER, BEFORE, DURING, arrivals, fault_spans, latency_csv, latency_json
from rube.sim.story.latency import latency_values as page_values
from tests.unit.sim.judge_history import UNIT, S, Tale, key_of


def told(tale: Tale, revision: int, at_s: float) -> Delivery:
    event = WatchEvent(tale.version("web", revision), deleted=False)
    return Delivery(at_ns=round(at_s * S), events=(event,), revision=revision)


def a_tale() -> Tale:
    """Two watchers of one object, whose revision n is committed at second n; o-2 hears twice of 2."""
    tale = Tale()
    tale.history.commits += [Commit(revision * S, revision) for revision in (1, 2, 3)]
    tale.watch(told(tale, 1, 1.25), told(tale, 2, 2.5), told(tale, 3, 2.9), client="o-1")
    tale.watch(told(tale, 2, 5), client="o-2")
    tale.watch(told(tale, 2, 9), told(tale, 7, 9), client="o-2")
    return tale


def test_a_watch_is_told_of_a_change_once_and_never_before_its_commit() -> None:
    rows = arrivals(a_tale().history, [])
    assert [(row.watcher, row.revision, row.latency_ns) for row in rows] == [
        ("o-1", 1, S // 4),
        ("o-1", 2, S // 2),
        ("o-1", 3, 0),
        ("o-2", 2, 3 * S),
    ]
    assert {(row.watch, row.key, row.phase) for row in rows} == {(UNIT, key_of("web"), BEFORE)}


@pytest.mark.parametrize(
    ("start_s", "end_s", "phases"),
    [
        (1.5, 1.9, [BEFORE, AFTER, AFTER, AFTER]),
        (1.5, 2.0, [BEFORE, DURING, AFTER, DURING]),
        (2.6, 2.6, [BEFORE, BEFORE, AFTER, DURING]),
        (6, 7, [BEFORE] * 4),
    ],
)
def test_a_change_is_during_a_fault_that_was_there_before_it_arrived(
    start_s: float, end_s: float, phases: list[str]
) -> None:
    spans = [(round(start_s * S), round(end_s * S))]
    assert [row.phase for row in arrivals(a_tale().history, spans)] == phases
    bands = [Band("a", *spans[0], "daemon is down")]
    assert [row.phase for row in arrivals(a_tale().history, fault_spans(bands, []))] == phases


def test_both_formats_have_a_row_for_each_change_and_watch() -> None:
    rows = arrivals(a_tale().history, [(2 * S, 2 * S)])
    from_csv = list(csv.DictReader(latency_csv(rows).splitlines()))
    from_json = json.loads(latency_json(rows))
    assert [{name: str(value) for name, value in row.items()} for row in from_json] == from_csv
    assert [row["latency_ns"] for row in from_json] == [row.latency_ns for row in rows]


def test_a_page_has_percentiles_by_phase_and_the_slowest_first() -> None:
    values = page_values(arrivals(a_tale().history, [(2 * S, 2 * S)]), ["o-1"])
    assert values["all"] == [S // 4, 3 * S]
    assert values["curves"] == [[BEFORE, [S // 4]], [DURING, [S // 2, 3 * S]], [AFTER, [0]]]
    assert ["all", DURING, 2, S // 2, 3 * S, 3 * S, 3 * S] in values["rows"]
    assert ["o-1", AFTER, 1, 0, 0, 0, 0] in values["rows"]
    assert values["slowest"][0] == [-1, "o-2", UNIT, "Unit/default/web", 2, 2 * S, 5 * S, 3 * S, DURING]
    assert [row[7] for row in values["slowest"]] == [3 * S, S // 2, S // 4, 0]


def test_a_run_without_changes_has_an_empty_section() -> None:
    assert page_values([], []) == {"all": [], "curves": [], "rows": [], "slowest": []}
    assert latency_json([]) == "[\n\n]\n"
