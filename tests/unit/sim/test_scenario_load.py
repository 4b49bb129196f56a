"""Scenario files: what is read, and how each mistake is met."""

from __future__ import annotations

from pathlib import Path

import pytest

from rube.api import Service
from rube.api.errors import InvalidArgumentError, NotFoundError
from rube.sim.scenario import ScenarioError, load, load_text
from rube.sim.scenario.yamlproto import parse_duration

GOOD = """\
name: small
duration: 60s
cluster:
  nodes: {count: 3}
workload:
  observers: 1
  steps:
    - put: {name: "web-{i}", count: 3}
faults:
  - {at: 10s, for: 30s, isolate: worker-2}
expect:
  - watch_promises
  - converged: {within: 5s}
"""


def _errors(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load_text(text, "s.yaml")
    return caught.value.lines


def _with(old: str, new: str) -> list[str]:
    assert old in GOOD
    return _errors(GOOD.replace(old, new))


def test_a_scenario_gets_its_defaults() -> None:
    scenario = load_text(GOOD, "s.yaml").scenario
    assert scenario.seed == 1
    assert [item.name for item in scenario.cluster.apiservers] == ["api-1"]
    assert list(scenario.cluster.nodes.names) == ["worker-1", "worker-2", "worker-3"]
    assert scenario.workload.steps[0].put.namespace == "default"
    assert scenario.faults[0].lasts.seconds == 30
    assert [item.WhichOneof("check") for item in scenario.expect] == ["watch_promises", "converged"]


def test_a_misspelt_key_is_named_and_corrected() -> None:
    assert _with("isolate:", "isolat:") == ["s.yaml:10: unknown key \"isolat\" in faults[0]; did you mean 'isolate'?"]


def test_a_misspelt_host_is_named_and_corrected() -> None:
    assert _with("worker-2", "wroker-2") == [
        "s.yaml:10: unknown host \"wroker-2\" in faults[0].isolate; did you mean 'worker-2'?"
    ]


def test_a_key_far_from_all_lists_what_there_is() -> None:
    (line,) = _with("nodes:", "zzz:")
    assert 'unknown key "zzz" in cluster; known: ' in line


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("for: 30s", "for: 30x", "s.yaml:10: '30x' is not a duration"),
        ("for: 30s", "for: [30s]", "s.yaml:10: expected a duration such as 30s, not a list"),
        ("at: 10s", "at: -1s", "s.yaml:10: impossible time -1s: it is before the start in faults[0].at"),
        ("at: 10s", "at: 61s", "s.yaml:10: impossible time 61s: the scenario ends at 60s (`duration`)"),
        ("for: 30s", "for: 55s", "s.yaml:10: impossible time 65s: the scenario ends at 60s"),
        ("observers: ", "filters: [{}]\n  observers: ", "it filters nothing: add `labels: node=worker-1`"),
        ("observers: ", "filters: [{labels: 'a=='}, {name: A}]\n  observers: ", "workload.filters[1]"),
        ("expect:", "unchecked: [raeds]\nexpect:", "unknown check \"raeds\" in unchecked[0]; did you mean 'reads'?"),
        ("for: 30s", "for: 0s", "s.yaml:10: impossible time 0s: write more than 0s"),
        ("duration: 60s", "duration: 0s", "s.yaml:2: impossible time"),
        ("duration: 60s\n", "", "s.yaml:1: no duration"),
        ("name: small\n", "", "s.yaml:1: no name"),
        (
            "count: 3}\nworkload",
            "count: many}\nworkload",
            's.yaml:4: expected a whole number, not negative, not "many"',
        ),
        ("count: 3}\nworkload", "count: -3}\nworkload", "s.yaml:4: expected a whole number, not negative"),
        ("nodes: {count: 3}", "nodes: {names: [a, a]}", 's.yaml:4: host name "a" appears twice'),
        ("nodes: {count: 3}", "nodes: {names: [A_b]}", "is not a DNS label"),
        ("observers: 1", "observers: 1\n  observers: 2", 's.yaml:7: key "observers" appears twice in workload'),
        ("isolate: worker-2", "isolate: worker-2, kill: worker-2", "exclude each other"),
        ("isolate: worker-2", "crash_unit: {node: worker-2, name: web-9}", 'unknown unit "web-9"'),
        ("for: 30s, isolate", "for: 30s, heal", "`heal` happens at one moment and takes no `for`"),
        ("for: 30s, isolate", "heal", 'impossible order: "heal: worker-2" at 10s has nothing to undo'),
        ("for: 30s, isolate: worker-2", "", "a fault without kind"),
        ('name: "web-{i}"', "name: web", "3 units need a name with {i} in it"),
        ("- converged: {within: 5s}", "- converged: {within: 0s}", "impossible time 0s"),
        (
            "- converged: {within: 5s}",
            "- converge",
            "expected keys, not \"converge\" in expect[1]; did you mean 'converged'?",
        ),
        (
            "- converged: {within: 5s}",
            "- [converged]",
            "expected keys, not a list in expect[1]: converged, watch_promises",
        ),
        (
            "count: 3}\nworkload",
            "count: 3}\n  clocks: {drift_ppm_max: 900000}\nworkload",
            "s.yaml:5: the most is 500000",
        ),
        ("count: 3}\nworkload", "count: 3}\n  clocks: {offset_max: -1s}\nworkload", "s.yaml:5: impossible time -1s"),
        ("count: 3}\nworkload", "count: 3}\n  network: {latency: -1ms}\nworkload", "s.yaml:5: impossible time -0.001s"),
        ("count: 3}\nworkload", "count: 3}\n  network: {loss: 1}\nworkload", "s.yaml:5: a share is at least 0"),
        ("count: 3}\nworkload", "count: 3}\n  apiservers: [{store: 'foo:x'}]\nworkload", "foo:x"),
        ('name: "web-{i}"', 'name: "Web_{i}"', "name 'Web_1' is not a DNS label"),
        ('name: "web-{i}"', 'name: "web-{i}", namespace: A', "namespace 'A' is not a DNS label"),
        ("isolate: worker-2", "slow: {from: [worker-2]}", "how slow? add `latency: 200ms` in faults[0].slow"),
        ("isolate: worker-2", "slow: {from: [worker-2], latency: -1s}", "impossible time -1s"),
        (
            "- put: {",
            "- {at: 1s, change: {names: [web-1]}}\n    - at: 2s\n      put: {",
            "s.yaml:8: impossible order: no step puts default/web-1 before 1s in workload.steps[0].change.names[0]",
        ),
        (
            "- converged: {within: 5s}",
            "- unit: {at: 5s, node: worker-1, name: web-1, state: activ}",
            "unknown state \"activ\" in expect[1].unit.state; did you mean 'active'?",
        ),
        ("count: 3}\n", "count: 3\n", "not YAML"),
        ("steps:\n    - put", "steps:\n      put", "expected a list"),
    ],
)
def test_a_mistake_is_met_with_its_place(old: str, new: str, part: str) -> None:
    assert any(part in line for line in _with(old, new)), _with(old, new)


def test_every_mistake_is_reported_in_the_order_of_the_lines() -> None:
    lines = _errors(GOOD.replace("small", "small\nspeed: 3").replace("isolate", "isolat"))
    assert [line.split(":")[1] for line in lines] == ["2", "11"]


def test_an_empty_file_says_how_to_begin() -> None:
    assert _errors("") == ["s.yaml:1: the file is empty: begin with `name:` and `duration:`"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.yaml: no such file"):
        load(str(tmp_path / "nothing.yaml"))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        load(str(tmp_path / "s.yaml"))


def test_a_unit_is_taken_from_a_file_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "u.textproto").write_text(
        'metadata { name: "u" } spec { [rube/api.systemd.Unit] { service { type: ONESHOT } } }'
    )
    (tmp_path / "s.yaml").write_text(GOOD.replace('{name: "web-{i}"', '{name: "web-{i}", file: u.textproto'))
    loaded = load(str(tmp_path / "s.yaml"))
    assert loaded.units["u.textproto"].service.type == Service.ONESHOT


def test_a_damaged_unit_file_is_an_error_of_the_step(tmp_path: Path) -> None:
    (tmp_path / "u.textproto").write_text("metadata {")
    (tmp_path / "s.yaml").write_text(GOOD.replace('{name: "web-{i}"', '{name: "web-{i}", file: u.textproto'))
    with pytest.raises(ScenarioError, match=r"s\.yaml:8: .*u\.textproto.*in workload\.steps\[0\]\.put\.file"):
        load(str(tmp_path / "s.yaml"))


@pytest.mark.parametrize(
    ("text", "ns"),
    [("30s", 30 * 10**9), ("500ms", 5 * 10**8), ("1m30s", 90 * 10**9), ("1.5s", 15 * 10**8), ("-5s", -5 * 10**9)],
)
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "30", "s", "30x", "30s 5", "+3s", "1e3s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
