"""`make bench`: runs every benchmark and prints the figures that matter, with their goals, as a Markdown table.

Ratios are of one run on one machine and hold elsewhere; absolute figures move.
docs/explanation/benchmarks.md holds one run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
SCENARIO_RUNS = 3

Benches = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: what was measured, how to read it from the results, and what it should reach."""

    what: str
    value: Callable[[Benches], float]
    shown: str
    goal: str = ""
    reached: Callable[[float], bool] | None = None


def info(bench: str, name: str) -> Callable[[Benches], float]:
    return lambda benches: float(benches[bench]["extra_info"][name])


def median_s(bench: str) -> Callable[[Benches], float]:
    return lambda benches: float(benches[bench]["stats"]["median"])


def rows_per_s(bench: str) -> Callable[[Benches], float]:
    return lambda benches: info(bench, "rows")(benches) / median_s(bench)(benches)


def ratio(ours: Callable[[Benches], float], peer: Callable[[Benches], float]) -> Callable[[Benches], float]:
    return lambda benches: ours(benches) / peer(benches)


def at_least(limit: float) -> Callable[[float], bool]:
    return lambda value: value >= limit


def at_most(limit: float) -> Callable[[float], bool]:
    return lambda value: value <= limit


FIGURES = [
    Figure(
        what="simulation kernel, `asyncio.sleep(1)` on drifting hosts, of raw SimPy's timeouts",
        value=info("test_ratio_to_raw_simpy", "ratio_to_raw_simpy"),
        shown="{:.0%}",
        goal="≥ 20%",
        reached=at_least(0.20),
    ),
    Figure(
        what="`rube sim scenarios/partition.yaml`, virtual seconds a wall second",
        value=info("partition.yaml", "virtual_per_wall"),
        shown="{:.0f}",
        goal="≥ 100",
        reached=at_least(100),
    ),
    Figure(
        what="simulated unary calls, of real ones between two grpcio processes' tasks",
        value=ratio(
            info("test_simulated_calls", "calls_per_s"), info("test_real_calls[grpcio-leveled]", "calls_per_s")
        ),
        shown="{:.1f}×",
    ),
    *(
        Figure(
            what=f"store, one commit of {rows} rows of 1 KiB after the other, of raw SQLite's",
            value=ratio(rows_per_s(f"test_store[{rows}]"), rows_per_s(f"test_raw_sqlite[{rows}]")),
            shown="{:.0%}",
        )
        for rows in (1, 10, 100)
    ),
    Figure(
        what="store, 64 commits of one row in flight, rows/s",
        value=rows_per_s("test_store_64_in_flight"),
        shown="{:,.0f}",
    ),
    Figure(
        what="store, start-up with 50,000 objects of 1 KiB, seconds",
        value=median_s("test_recovery_of_50_000"),
        shown="{:.2f}",
    ),
    Figure(
        what="durable Put on grpcio's server, 64 in flight, of a bare grpcio echo",
        value=info("test_durable_put[grpcio]", "ratio_to_echo"),
        shown="{:.0%}",
        goal="≥ 60%",
        reached=at_least(0.60),
    ),
    Figure(
        what="durable Put on h2corn, 64 in flight, of etcd's puts",
        value=info("test_durable_put[h2corn]", "ratio_to_etcd"),
        shown="{:.0%}",
        goal="≥ 40%",
        reached=at_least(0.40),
    ),
    Figure(
        what="Get on grpcio's server, 64 in flight, of a bare grpcio echo",
        value=info("test_get[grpcio]", "ratio_to_echo"),
        shown="{:.0%}",
    ),
    Figure(
        what="Get on h2corn, 64 in flight, of a bare grpcio echo",
        value=info("test_get[h2corn]", "ratio_to_echo"),
        shown="{:.0%}",
    ),
    *(
        Figure(
            what=f"Puts of 100 objects, one after the other, {kind} server, objects/s",
            value=info(f"test_puts_of_100_objects_one_after_the_other[{kind}]", "objects_per_s"),
            shown="{:,.0f}",
            goal="≥ 15,000",
            reached=at_least(15_000),
        )
        for kind in ("grpcio", "h2corn")
    ),
    *(
        Figure(
            what=f"Puts of 100 objects, 8 in flight, {kind}, {server} server, of etcd's 100-operation transactions",
            value=info(f"test_puts_of_100_objects[{kind}-{server}]", "ratio_to_etcd"),
            shown="{:.0%}",
            goal="≥ 40%",
            reached=at_least(0.40),
        )
        for kind in ("sqlite", "rocksdb")
        for server in ("grpcio", "h2corn")
    ),
    *(
        Figure(
            what=f"apiserver on {kind} with {size:,} objects of 1 KiB, {what}",
            value=info(f"test_apiserver_memory_and_start[{kind}-{size}]", name),
            shown=shown,
            goal=goal,
            reached=at_most(limit),
        )
        for kind in ("sqlite", "rocksdb")
        for size, what, name, shown, goal, limit in (
            (10_000, "bytes of memory an object", "bytes_per_object", "{:,.0f}", "≤ 2,036", 2036.0),
            (100_000, "bytes of memory an object", "bytes_per_object", "{:,.0f}", "≤ 2,036", 2036.0),
            (100_000, "seconds to start", "start_s", "{:.2f}", "≤ 5", 5.0),
        )
    ),
    *(
        Figure(
            what=f"watch fan-out to {watchers} watchers in one Python process, events/s",
            value=info(f"test_watch_fan_out[h2corn-{watchers}]", "events_per_s"),
            shown="{:,.0f}",
        )
        for watchers in (1, 10, 100)
    ),
    *(
        Figure(
            what=f"watches {through}: {what}",
            value=info(f"watches[{kind}]", name),
            shown=shown,
            goal=goal,
            reached=at_most(limit),
        )
        for kind, through in (("none", "without gRPC"), ("h2corn", "through h2corn"))
        for what, name, shown, goal, limit in (
            ("a put beside 1,000 that don't match, of one beside none", "1000 unit ratio", "{:.2f}", "≤ 1.1", 1.1),
            ("a put beside 5,000 that don't match, of one beside none", "5000 unit ratio", "{:.2f}", "≤ 1.1", 1.1),
            ("opening 5,000 with a label, seconds", "5000 open s", "{:.1f}", "≤ 10", 10.0),
            ("memory of each of 5,000, KiB", "5000 KiB each", "{:.1f}", "≤ 16", 16.0),
            ("an event in a message of its own, of 1,000 that match, µs", "alone us", "{:.1f}", "≤ 12", 12.0),
            ("an event of 100 in one message, µs", "batched us", "{:.2f}", "≤ 3", 3.0),
        )
    ),
    Figure(
        what="Raft's core, batches of 16 through three cores in one process, entries/s",
        value=info("test_entries_through_three_cores[synchronous-1]", "entries_per_s"),
        shown="{:,.0f}",
        goal="≥ 20,000",
        reached=at_least(20_000),
    ),
    *(
        Figure(
            what=f"three simulated members, virtual seconds a second of processor time, {state}",
            value=info("test_simulated_members", name),
            shown="{:.0f}",
            goal=f"≥ {goal}",
            reached=at_least(goal),
        )
        for state, name, goal in (("idle", "idle", 100), ("at 50 proposals/s", "loaded", 25))
    ),
    Figure(
        what="three whole simulated apiservers, virtual seconds a second of processor time, at 50 puts/s",
        value=info("test_simulated_cluster", "loaded"),
        shown="{:.0f}",
    ),
    *(
        Figure(
            what=f"durable Put at the leader of three members, {kind} server, 64 in flight, of a single apiserver's",
            value=info(f"test_puts_of_three_members[{kind}]", "ratio"),
            shown="{:.0%}",
            goal="≥ 40%",
            reached=at_least(0.40),
        )
        for kind in ("grpcio", "h2corn")
    ),
    Figure(
        what="first write after kill -9 of the leader of three, median, of its election timeout of 0.8 s",
        value=info("test_first_write_after_a_kill", "of_timeout"),
        shown="{:.2f}",
        goal="≤ 1.5",
        reached=at_most(1.5),
    ),
    Figure(
        what="the same of etcd, of its election timeout of 1 s",
        value=info("test_first_write_after_a_kill_of_etcd", "of_timeout"),
        shown="{:.2f}",
    ),
    Figure(
        what="`ructl get`, shell to shell, seconds",
        value=median_s("test_ructl_get"),
        shown="{:.2f}",
        goal="≤ 0.4",
        reached=at_most(0.4),
    ),
    Figure(
        what="rubelet with 20 units, MB resident",
        value=info("test_rubelet_with_20_units", "resident_mb"),
        shown="{:.0f}",
        goal="≤ 70",
        reached=at_most(70),
    ),
    *(
        Figure(
            what=f"apiserver with 50,000 objects of 1 KiB that {state}, MB resident",
            value=info(f"test_apiserver_with_50_000_objects[{case}]", "resident_mb"),
            shown="{:.0f}",
            goal="≤ 200",
            reached=at_most(200),
        )
        for case, state in (("bound", "are bound to nodes"), ("unbound", "all wait for one"))
    ),
]


def main() -> int:
    benches = {**pytest_benches(), **scenario_bench(), **watches_bench()}
    print("\n| figure | measured | goal | |\n|---|---|---|---|")
    missed = 0
    for figure in FIGURES:
        try:
            value = figure.value(benches)
        except KeyError as missing:
            print(f"| {figure.what} | not measured: {missing} | {figure.goal} | |")
            continue
        verdict = "" if figure.reached is None else "reached" if figure.reached(value) else "missed"
        missed += verdict == "missed"
        print(f"| {figure.what} | {figure.shown.format(value)} | {figure.goal} | {verdict} |")
    print(f"\n{missed} goals missed")
    return 0


def pytest_benches(path: str = "bench", *, timeout_s: int = 600) -> Benches:
    """Runs the benches in a file or directory, each within `timeout_s`; one that fails shows as not measured."""
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "results.json"
        command = [sys.executable, "-m", "pytest", path, "-s", "--benchmark-quiet", f"--benchmark-json={results}"]
        subprocess.run([*command, f"--timeout={timeout_s}"], cwd=REPOSITORY, check=False)
        return {bench["name"]: bench for bench in json.loads(results.read_text())["benchmarks"]}


def scenario_bench() -> Benches:
    """The best of a few runs: what else the machine does only ever adds time."""
    command = [sys.executable, "-m", "rube.cli.main", "sim", "scenarios/partition.yaml", "--json"]
    best = 0.0
    for _ in range(SCENARIO_RUNS):
        report = json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True).stdout)
        best = max(best, report["virtual_s"] / report["wall_s"])
    return {"partition.yaml": {"extra_info": {"virtual_per_wall": best}}}


def watches_bench() -> Benches:
    command = [sys.executable, "-m", "bench.watches", "--json"]
    output = subprocess.run(command, cwd=REPOSITORY, check=False, stdout=subprocess.PIPE).stdout
    measured = json.loads(output or "{}")  # without any they show as not measured
    return {f"watches[{kind}]": {"extra_info": figures} for kind, figures in measured.items()}


if __name__ == "__main__":
    sys.exit(main())
