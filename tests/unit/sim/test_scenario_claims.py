"""Claims and judges of one's own in a scenario file: mistakes by their line, and claims that hold or do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rube.sim.judges import History, Verdict
from rube.sim.scenario import Simulation, load_text
from rube.sim.scenario.yamlproto import ScenarioError

UNIT = "type: api.systemd.Unit"
TEXT = """\
name: claims
duration: 6s
cluster: {nodes: {count: 1}}
workload:
  steps:
    - {at: 1s, put: {name: web, node: worker-1}}
    - {at: 4s, stop: {names: [web]}}
expect:
  - %s
"""


def two_units(history: History) -> Iterator[str]:
    count = len([key for key in history.timeline.keys if key.startswith("api.systemd.Unit/")])
    if count != 2:
        yield f"there were {count} units"


def anything(history: History) -> list[str]:
    assert history.commits
    return []


def broken(history: History) -> list[str]:
    return [history.nothing]  # type: ignore[attr-defined]


def verdict_of(expectation: str) -> Verdict:
    with Simulation(load_text(TEXT % expectation, "claims.yaml")) as simulation:
        return simulation.run().verdicts[0]


@pytest.mark.parametrize(
    "expectation",
    [
        f"always: {{{UNIT}, cel: \"metadata.name == 'web'\"}}",
        f'never: {{{UNIT}, cel: "spec.service.exec.start.size() == 0"}}',
        f"never: {{{UNIT}, cel: \"status.active_state != 'active'\", lasting: 4s}}",
        f"eventually: {{{UNIT}, cel: \"status.active_state == 'active'\", within: 4s}}",
        f"judge: {__name__}:anything",
    ],
)
def test_a_claim_that_holds_passes(expectation: str) -> None:
    verdict = verdict_of(expectation)
    assert (verdict.passed, verdict.judged) == (True, True), verdict


@pytest.mark.parametrize(
    ("expectation", "said"),
    [
        (f"always: {{{UNIT}, cel: \"metadata.name == 'db'\"}}", "web at revision"),
        (f"never: {{{UNIT}, cel: \"status.active_state == 'active'\"}}", "`status.active_state == 'active'` is true"),
        (f"never: {{{UNIT}, cel: \"status.active_state == 'active'\", lasting: 1s}}", "is true, and until 4."),
        (f"eventually: {{{UNIT}, cel: \"status.active_state == 'failed'\", within: 2s}}", "is false, and until"),
        (
            f"always: {{{UNIT}, cel: \"metadata.labels['zone'] == 'a'\"}}",
            "api.systemd.Unit/default/web at revision 9: `metadata.labels['zone'] == 'a'` cannot be judged: Key",
        ),
        (f'eventually: {{{UNIT}, cel: "metadata.name", within: 2s}}', "`metadata.name` cannot be judged: "),
        (f"judge: {__name__}:two_units", "there were 1 units"),
    ],
)
def test_a_claim_that_does_not_hold_fails(expectation: str, said: str) -> None:
    verdict = verdict_of(expectation)
    assert not verdict.passed
    assert said in verdict.offending[0], verdict


def test_a_judge_that_raises_fails_and_the_run_ends_as_ever() -> None:
    verdict = verdict_of(f"judge: {__name__}:broken")
    assert (verdict.passed, verdict.check) == (False, f"{__name__}:broken")
    assert "the judge failed: AttributeError: 'History' object has no attribute 'nothing'" in verdict.text


@pytest.mark.parametrize(
    ("expectation", "said"),
    [
        ('always: {cel: "true"}', "no type: add `type: api.systemd.Unit` in expect[0].always"),
        (f"always: {{{UNIT}}}", "no condition: add `cel: "),
        ('always: {type: acme.Nothing, cel: "true"}', "acme.Nothing"),
        (
            f"always: {{{UNIT}, cel: spec.nothing}}",
            "`spec.nothing` cannot be judged: no_such_field : nothing in expect",
        ),
        (f"always: {{{UNIT}, cel: nothing.spec}}", 'No value with name "nothing"'),
        (f"never: {{{UNIT}, cel: 'spec.('}}", "`spec.(` is no condition in CEL"),
        (f"eventually: {{{UNIT}, cel: 'true'}}", "no time: add `within: 30s` in expect[0].eventually"),
        (f"eventually: {{{UNIT}, cel: 'true', within: 0s}}", "impossible time: write more than 0s"),
        (f"never: {{{UNIT}, cel: 'true', lasting: -1s}}", "impossible time: write more than 0s"),
        ("judge: nothing", "'nothing' names no judge: write module:function in expect[0].judge"),
        ("judge: no_such_module:judge", "cannot import 'no_such_module'"),
        (f"judge: {__name__}:anythin", f"{__name__} has no function 'anythin'; did you mean 'anything'?"),
    ],
)
def test_a_mistake_is_said_with_its_line(expectation: str, said: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        load_text(TEXT % expectation, "claims.yaml")
    (line,) = raised.value.lines
    assert line.startswith("claims.yaml:9: "), line
    assert said in line
