"""The report of a run, for people and for programs."""

from __future__ import annotations

import json

from rube.sim.judges import LatencySummary, Verdict
from rube.sim.judges.verdict import not_judged
from rube.sim.report import Counts, Result, render_json, render_text

RESULT = Result(
    name="small",
    description="what it\n is about",
    seed=7,
    tie_break=False,
    counts=Counts(
        relays=0,
        etcd_members=0,
        apiservers=1,
        controllers=3,
        nodes=3,
        units=20,
        observers=2,
        attempts=5,
        acknowledged=4,
        commits=9,
        watch_events=40,
        records=99,
    ),
    events=[(2_000_000_000, "a user puts web-1"), (30_000_000_000, "worker-2 is cut off for 30s")],
    verdicts=[
        Verdict(check="converged", passed=True, text="everything converged within 1.000s"),
        Verdict(check="unit", passed=False, text="not so: web-1 is active", offending=("3.000s web-1 is failed",)),
        not_judged("views", "the store was restored"),
    ],
    latencies=[
        LatencySummary(watcher="all", events=40, p50_ns=10**6, p90_ns=2 * 10**6, p99_ns=3 * 10**6, max_ns=10**7)
    ],
    virtual_ns=120 * 10**9,
    trace_sha256="ab" * 32,
)


def test_the_text_says_what_happened_and_how_it_was_judged() -> None:
    text = render_text(RESULT, arguments="'my scenario.yaml'", wall_s=0.5)
    lines = text.splitlines()
    assert lines[0] == "small: what it is about"
    assert lines[2].startswith("simulated: 1 apiserver, 3 replicas of the controllers, 3 rubelets, 20 units in the end")
    assert "     2.000s  a user puts web-1" in lines
    assert "  ✓ converged: everything converged within 1.000s" in lines
    assert lines[lines.index("  ✗ unit: not so: web-1 is active") + 1].strip() == "3.000s web-1 is failed"
    assert "  – views: not judged: the store was restored" in lines
    assert "VIOLATED: 1 of 2 checks hold, 1 not judged" in lines
    assert "virtual 120.0s in 0.50s of wall time: 240 virtual seconds a second" in lines
    assert "trace sha256: " + "ab" * 32 in lines
    assert lines[-1] == "repeat: rube sim 'my scenario.yaml' --seed 7"
    assert any(line.split() == ["all", "40", "1.000", "2.000", "3.000", "10.000"] for line in lines)


def test_the_json_says_the_same() -> None:
    report = json.loads(render_json(RESULT, arguments="s.yaml", wall_s=0.5))
    assert report["passed"] is False
    assert [check["judged"] for check in report["checks"]] == [True, True, False]
    assert report["trace_sha256"] == "ab" * 32
    assert report["virtual_s_per_wall_s"] == 240
    assert report["simulated"]["units"] == 20
    assert report["checks"][1]["offending"] == ["3.000s web-1 is failed"]
    assert report["repeat"] == "rube sim s.yaml --seed 7"
    assert report["watch_latency_ns"][0]["p99_ns"] == 3_000_000
