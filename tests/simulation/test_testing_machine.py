"""The state machine, the strategies and the claims of rube.testing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.stateful import run_state_machine_as_test

from rube.api import Object, Unit
from rube.api.errors import InvalidArgumentError
from rube.api.keys import type_of
from rube.api.types import BUILTIN, Types
from rube.sim.scenario import default_unit
from rube.testing import Cluster, ClusterMachine, always, eventually, never, objects, simulate
from rube.testing.simulating import Setup
from rube.testing.world import TestWorld
from tests.pushed_types import backup_type, kind_from

UNIT = "api.systemd.Unit"
DRAWN = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
QUICK = settings(DRAWN, max_examples=3, stateful_step_count=6)
TYPES: Types = BUILTIN.with_kind(kind_from(backup_type()))
IN_SERVER = ["acme.Backup", "api.systemd.Unit", "core.Namespace", "auth.Role"]


class SmallMachine(ClusterMachine):
    nodes = 1


class WrongMachine(ClusterMachine):
    nodes = 1
    claims = (never("api.systemd.Unit", "metadata.namespace == 'default'"),)


def test_a_cluster_under_drawn_actions_and_faults_keeps_its_promises() -> None:
    run_state_machine_as_test(SmallMachine, settings=QUICK)


def test_a_broken_claim_fails_the_machine_with_its_steps() -> None:
    found = settings(QUICK, max_examples=5, stateful_step_count=4, phases=[Phase.generate])
    with pytest.raises(AssertionError, match=r"never: metadata\.namespace == 'default'") as caught:
        run_state_machine_as_test(WrongMachine, settings=found)
    notes = "\n".join(getattr(caught.value, "__notes__", []))
    assert "state.put(" in notes
    assert "trace sha256" in str(caught.value)


@pytest.mark.parametrize("type_name", IN_SERVER)
def test_a_server_takes_every_object_that_is_drawn(type_name: str) -> None:
    world = TestWorld(Setup(nodes=0, types=[backup_type()]), 1, Path())
    try:
        cluster = Cluster(world)

        @settings(DRAWN)
        @given(obj=objects(type_name, TYPES))
        def put(obj: Object) -> None:
            assert cluster.put(obj).revision
            assert type_of(obj.spec) == type_name

        put()
    finally:
        world.close()


@simulate(nodes=1, judges=False)
def test_a_claim_names_the_object_its_revision_the_time_and_the_expression(cluster: Cluster) -> None:
    cluster.put(default_unit(), name="web")
    cluster.run_for(5)
    cluster.put(Unit(description="short", service=default_unit().service), name="web")
    cluster.run_for(1)
    cluster.put(default_unit(), name="web")
    cluster.run_for(5)
    cluster._test.cluster.conclude()
    history, types = cluster._test.cluster.history, cluster._test.types
    held = [
        always(UNIT, "spec.service.exec.start.size() > 0"),
        eventually(UNIT, "spec.description != 'short'", within=2),
        never(UNIT, "spec.description == 'short'", lasting=2),
        eventually(UNIT, "status.active_state == 'active'", within=5),
        always(UNIT, lambda obj: obj.metadata.name == "web"),
    ]
    assert [line for claim in held for line in claim.verdict(history, types).offending] == []
    for claim in (
        always(UNIT, "spec.description != 'short'"),
        eventually(UNIT, "spec.description != 'short'", within=0.5),
        never(UNIT, "spec.description == 'short'"),
        never(UNIT, "spec.description == 'short'", lasting=0.5),
    ):
        verdict = claim.verdict(history, types)
        assert not verdict.passed
        assert verdict.offending[0].startswith("5.")
        assert " api.systemd.Unit/default/web at revision " in verdict.offending[0]
        assert claim.expression in verdict.offending[0]
    with pytest.raises(InvalidArgumentError, match=r"`spec\.nothing` cannot be judged"):
        always(UNIT, "spec.nothing").verdict(history, types)
