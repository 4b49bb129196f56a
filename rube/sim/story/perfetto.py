"""A story in Chrome's trace-event format, which ui.perfetto.dev and chrome://tracing open.

A process is a host; its threads are its messages, units, faults and everything else. Arrows join a message's two ends.
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rube.sim.story.story import Story

NS_PER_US = 1000
# The length of what happens at one moment: arrows need something to begin and to end at.
_POINT_US = 1.0
_SCENARIO = 1
_FIRST_HOST = 2
_THREADS = {"send": 1, "deliver": 1, "process": 2, "leads": 2, "fault": 2, "decide": 3, "disk": 4, "unit": 5}
_THREAD_NAMES = {1: "messages", 2: "processes and faults", 3: "decisions", 4: "disk", 5: "units"}
_FIRST_SPAN = 100


def render_perfetto(story: Story) -> str:
    """The trace as JSON, in virtual microseconds."""
    values = {
        "displayTimeUnit": "ms",
        "otherData": {"scenario": story.result.name, "seed": str(story.result.seed), "repeat": story.repeat},
        "traceEvents": [*_names(story), *_scenario(story), *_spans(story), *_points(story)],
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _us(at_ns: int) -> float:
    return at_ns / NS_PER_US


def _numbers(story: Story) -> dict[str, int]:
    return {name: place + _FIRST_HOST for place, name in enumerate(story.told.hosts)}


def _named(what: str, pid: int, name: str, tid: int = 0) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}


def _names(story: Story) -> Iterator[dict[str, Any]]:
    yield _named("process_name", _SCENARIO, "scenario")
    for host, pid in _numbers(story).items():
        yield _named("process_name", pid, host)
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "args": {"sort_index": pid}}
        for tid, name in _THREAD_NAMES.items():
            yield _named("thread_name", pid, name, tid)


def _scenario(story: Story) -> Iterator[dict[str, Any]]:
    for at_ns, text in story.result.events:
        yield {"ph": "i", "s": "g", "name": text, "ts": _us(at_ns), "pid": _SCENARIO, "tid": 1, "cat": "scenario"}
    for pin in story.pins:
        name = f"violated: {pin.check}"
        place = {"ts": _us(pin.at_ns), "pid": _numbers(story).get(pin.host, _SCENARIO), "tid": 1}
        yield {"ph": "i", "s": "g", "name": name, "cat": "check", "args": {"text": pin.text}, **place}
    for at_ns, revision in story.commits:
        counted = {"revision": revision}
        yield {"ph": "C", "name": "revision", "ts": _us(at_ns), "pid": _SCENARIO, "tid": 0, "args": counted}


def _spans(story: Story) -> Iterator[dict[str, Any]]:
    """Faults and units' states: each fault and each unit has a thread of its own, since such may overlap."""
    numbers = _numbers(story)
    threads: dict[tuple[str, str], int] = {}
    spans = [(band.host, band.start_ns, band.end_ns, band.text, band.text, "fault") for band in story.bands]
    spans += [(span.host, span.start_ns, span.end_ns, span.unit, span.state, "unit") for span in story.units]
    for host, start_ns, end_ns, thread, name, category in spans:
        if host not in numbers:
            continue
        if (host, thread) not in threads:
            threads[host, thread] = _FIRST_SPAN + len(threads)
            yield _named("thread_name", numbers[host], thread, threads[host, thread])
        place = {"pid": numbers[host], "tid": threads[host, thread]}
        yield {"ph": "X", "name": name, "cat": category, "ts": _us(start_ns), "dur": _us(end_ns - start_ns), **place}


def _points(story: Story) -> Iterator[dict[str, Any]]:
    numbers = _numbers(story)
    for number, event in enumerate(story.told.events):
        place = {"pid": numbers.get(event.host, _SCENARIO), "tid": _THREADS[event.kind], "ts": _us(event.at_ns)}
        if event.kind not in ("send", "deliver"):
            yield {"ph": "i", "s": "t", "name": event.text, "cat": event.kind, **place}
            continue
        yield {"ph": "X", "name": event.text, "cat": event.kind, "dur": _POINT_US, **place}
        if event.other >= 0:
            arrow = {"name": "message", "cat": "message", "id": min(number, event.other), **place}
            yield {"ph": "s", **arrow} if event.kind == "send" else {"ph": "f", "bp": "e", **arrow}
