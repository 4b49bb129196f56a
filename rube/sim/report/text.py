"""A Result as text for people, and as JSON for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rube.api.times import NS_PER_S
from rube.sim.judges import LatencySummary, Verdict, many, time_in, time_text
from rube.sim.report.result import Counts, Result, repeat_command

TIMELINE_LINES_MAX = 24
"""A failing run's timeline of more lines is cut to the first ones, and those around the first violation."""
TIMELINE_HEAD, TIMELINE_BEFORE, TIMELINE_AFTER = 3, 10, 4


def render_text(result: Result, *, arguments: str, wall_s: float) -> str:
    """A report for people, without a newline at its end."""
    return "\n".join(_lines(result, arguments, wall_s))


def _lines(result: Result, arguments: str, wall_s: float) -> Iterator[str]:
    counts = result.counts
    yield f"{result.name}: {' '.join(result.description.split())}".rstrip(": ")
    yield ""
    etcd = f"{many(counts.etcd_members, 'member')} of etcd, " if counts.etcd_members else ""
    replicas = f"{many(counts.controllers, 'replica')} of the controllers, " if counts.controllers else ""
    relays = f"{many(counts.relays, 'relay')}, " if counts.relays else ""
    yield (
        f"simulated: {etcd}{many(counts.apiservers, 'apiserver')}, {relays}{replicas}{many(counts.nodes, 'rubelet')}, "
        f"{many(counts.units, 'unit')} in the end, {many(counts.observers, 'observer')}; seed {result.seed}"
    )
    yield (
        f"           {many(counts.attempts, 'request')} of users ({counts.acknowledged} acknowledged), "
        f"{many(counts.commits, 'commit')}, {many(counts.watch_events, 'watch event')}"
    )
    yield ""
    yield "what happened:"
    yield from _timeline(result)
    yield ""
    yield "checks:"
    for verdict in result.verdicts:
        yield f"  {_mark(verdict)} {verdict.check}: {verdict.text}"
        yield from (f"      {line}" for line in verdict.offending)
    yield ""
    if result.refusals or result.errors:
        yield from _complaints(result)
        yield ""
    if result.latencies:
        yield from _latency_table(result.latencies)
        yield ""
    judged = [verdict for verdict in result.verdicts if verdict.judged]
    passed = sum(verdict.passed for verdict in judged)
    others = len(result.verdicts) - len(judged)
    so_far = f"stopped at {time_text(result.virtual_ns)}, judged as of then; " if result.stopped else ""
    yield (
        f"{so_far}{'passed' if result.passed else 'VIOLATED'}: {passed} of {len(judged)} checks hold"
        + (f", {others} not judged" if others else "")
    )
    yield (
        f"virtual {result.virtual_ns / NS_PER_S:.1f}s in {wall_s:.2f}s of wall time: "
        f"{result.virtual_ns / NS_PER_S / wall_s:.0f} virtual seconds a second"
    )
    yield f"trace sha256: {result.trace_sha256}"
    yield f"repeat: {repeat_command(arguments, result.seed, tie_break=result.tie_break)}"


def _timeline(result: Result) -> Iterator[str]:
    """Yields steps, faults and leaders, with the violated checks among them. A failing run's many lines are cut to
    the first ones and those around the first violation."""
    seen = [(time_in(line), one.check, line) for one in result.verdicts for line in one.offending[:1]]
    violations = sorted(
        (at_ns, f"✗ {check}: {line.removeprefix(f'{time_text(at_ns)} ')}")
        for at_ns, check, line in seen
        if at_ns is not None
    )
    told = sorted([*result.events, *violations], key=lambda one: one[0])
    lines = [f"  {time_text(at_ns):>9}  {text}" for at_ns, text in told]
    if not violations or len(lines) <= TIMELINE_LINES_MAX:
        yield from lines
        return
    first = told.index(violations[0])
    begin = max(TIMELINE_HEAD, first - TIMELINE_BEFORE)
    end = first + TIMELINE_AFTER
    later = [line for line, one in zip(lines[end:], told[end:], strict=True) if one in violations]
    yield from lines[:TIMELINE_HEAD]
    if begin > TIMELINE_HEAD:
        yield f"  {'…':>9}  {begin - TIMELINE_HEAD} more steps and faults: --json or --html FILE has all of them"
    yield from lines[begin:end]
    if len(lines) - end > len(later):
        yield f"  {'…':>9}  {len(lines) - end - len(later)} more"
    yield from later


def _mark(verdict: Verdict) -> str:
    if not verdict.judged:
        return "–"
    return "✓" if verdict.passed else "✗"


def _complaints(result: Result) -> Iterator[str]:
    """Yields refusals and logged errors: no check may cover them, and a reader should know of them."""
    if result.refusals:
        yield "calls of controllers that were refused:"
    for refused in result.refusals:
        yield (
            f"  {refused.controller}: {refused.code}, {many(refused.count, 'time')}, last on {refused.last_host} at "
            + (f"{time_text(refused.last_ns)} for {refused.last_key}: {refused.last_message}")
        )
    if result.errors:
        yield "errors that were logged:"
    for logged in result.errors:
        yield (
            f"  {logged.logger} on {logged.host}: {many(logged.count, 'time')}, last at {time_text(logged.last_ns)}: "
            f"{logged.last}"
        )


def _latency_table(latencies: Sequence[LatencySummary]) -> Iterator[str]:
    yield "from commit to watcher, in virtual milliseconds:"
    width = max(len("watcher"), *(len(row.watcher) for row in latencies))
    yield f"  {'watcher':<{width}} {'events':>8} {'p50':>9} {'p90':>9} {'p99':>9} {'max':>9}"
    for row in latencies:
        figures = " ".join(f"{ns / 1e6:>9.3f}" for ns in (row.p50_ns, row.p90_ns, row.p99_ns, row.max_ns))
        yield f"  {row.watcher:<{width}} {row.events:>8} {figures}"


def render_json(result: Result, *, arguments: str, wall_s: float) -> str:
    """The same for programs. Times are virtual seconds unless their name says otherwise."""
    return json.dumps(
        {
            "name": result.name,
            "description": " ".join(result.description.split()),
            "seed": result.seed,
            "tie_break": result.tie_break,
            "passed": result.passed,
            "stopped": result.stopped,
            "simulated": {name: getattr(result.counts, name) for name in Counts.__slots__},
            "events": [{"at_s": at_ns / NS_PER_S, "what": text} for at_ns, text in result.events],
            "checks": [
                {
                    "check": verdict.check,
                    "passed": verdict.passed,
                    "judged": verdict.judged,
                    "text": verdict.text,
                    "offending": list(verdict.offending),
                }
                for verdict in result.verdicts
            ],
            "refused_calls": [
                {
                    "controller": refused.controller,
                    "code": refused.code,
                    "count": refused.count,
                    "last_at_s": refused.last_ns / NS_PER_S,
                    "last_host": refused.last_host,
                    "last_key": refused.last_key,
                    "last_message": refused.last_message,
                }
                for refused in result.refusals
            ],
            "errors_logged": [
                {
                    "host": logged.host,
                    "logger": logged.logger,
                    "count": logged.count,
                    "last_at_s": logged.last_ns / NS_PER_S,
                    "last": logged.last,
                }
                for logged in result.errors
            ],
            "watch_latency_ns": [
                {name: getattr(row, name) for name in LatencySummary.__slots__} for row in result.latencies
            ],
            "virtual_s": result.virtual_ns / NS_PER_S,
            "wall_s": round(wall_s, 3),
            "virtual_s_per_wall_s": round(result.virtual_ns / NS_PER_S / wall_s, 1),
            "trace_sha256": result.trace_sha256,
            "repeat": repeat_command(arguments, result.seed, tie_break=result.tie_break),
        },
        ensure_ascii=False,
        indent=2,
    )
