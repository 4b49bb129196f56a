"""A controller that never comes to rest is found out, and calls that are refused are named."""

from __future__ import annotations

import json
from functools import partial

import pytest

from rube.controllers.cluster import controllers as cluster_controllers
from rube.controllers.config import RuntimeConfig
from rube.sim.report import Result, render_json, render_text
from rube.sim.scenario import Simulation, load_text
from rube.sim.world.kernel import SimulationFailures

SCENARIO = """\
name: livelock
duration: 50s
cluster:
  nodes: {count: 1}
  controllers: [tests.simulation.misbehaving:Misbehaving]
workload:
  steps:
    - {at: 1s, put: {name: web, node: worker-1}}
expect:
  - never_on_two_nodes
"""


def _run(controller: str, change: tuple[str, str] = ("", "")) -> Result:
    text = SCENARIO.replace("Misbehaving", controller).replace(*change)
    with Simulation(load_text(text, "s.yaml")) as simulation:
        return simulation.run()


def _offending(result: Result) -> list[str]:
    assert {verdict.check for verdict in result.verdicts if not verdict.passed} <= {"comes_to_rest"}
    return [line for verdict in result.verdicts for line in verdict.offending]


def test_a_controller_whose_calls_are_always_refused() -> None:
    result = _run("Refused")
    assert any(
        "a call of restless on api-1 for api.Node/worker-1 was refused with INVALID_ARGUMENT" in line
        for line in _offending(result)
    )
    (summary,) = result.refusals
    assert (summary.controller, summary.code, summary.last_host) == ("restless", "INVALID_ARGUMENT", "api-1")
    assert summary.count > 3
    assert summary.last_key == "api.Node/worker-1"


def test_refused_calls_and_logged_errors_are_reported() -> None:
    result = _run("Refused")
    text = render_text(result, arguments="s.yaml", wall_s=1)
    assert "calls of controllers that were refused:\n  restless: INVALID_ARGUMENT, " in text
    assert "errors that were logged:\n  rube.controllers on api-1: " in text
    report = json.loads(render_json(result, arguments="s.yaml", wall_s=1))
    (refused,) = report["refused_calls"]
    assert refused["count"] == result.refusals[0].count
    assert "metadata.name" in refused["last_message"]
    (logged,) = report["errors_logged"]
    assert (logged["host"], logged["logger"]) == ("api-1", "rube.controllers")
    assert "was refused" in logged["last"]


@pytest.mark.parametrize("controller", ["Restless", "Repeating"])
def test_a_controller_that_goes_on_writing(controller: str) -> None:
    assert any(
        "api-1 goes on with api.systemd.Unit/restless/worker-1: put " in line for line in _offending(_run(controller))
    )


def test_a_livelock_that_was_left_out_is_not_judged() -> None:
    assert _run("Restless", ("expect:", "unchecked: [comes_to_rest]\nexpect:")).passed


def test_a_world_that_ends_too_early_is_not_judged_unless_it_was_asked_for() -> None:
    assert _run("Restless", ("50s", "20s")).passed
    result = _run("Restless", ("expect:", "expect:\n  - comes_to_rest: {within: 60s}"))
    assert not result.passed
    assert _offending(result) == []
    assert _offending(_run("Restless", ("expect:", "expect:\n  - comes_to_rest: {within: 5s}")))


def test_a_controller_that_wakes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short the pause that the runtime allows: the run fails, and names host, controller and key."""
    monkeypatch.setattr(cluster_controllers, "RuntimeConfig", partial(RuntimeConfig, wake_s_min=1e-9))
    with pytest.raises(SimulationFailures) as caught:
        _run("Awake")
    assert str(caught.value.causes[0]).startswith(
        "controller restless on api-1 decided 201 times about api.Node/worker-1 within the second of virtual time from "
    )


def test_a_controller_that_changes_what_it_decides_about() -> None:
    with pytest.raises(SimulationFailures) as caught:
        _run("Frantic")
    # It, or another controller that decides about nodes and is woken by it.
    assert " on api-1 decided 201 times about api.Node/worker-1 within the second" in str(caught.value.causes[0])
