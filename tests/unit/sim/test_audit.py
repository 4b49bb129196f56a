"""Cases that count as not converged."""

from __future__ import annotations

import pytest

from rube.api import Object, Unit, UnitStatus
from rube.api.types import pack
from rube.sim.cluster.convergence import SeenUnit, problems, status_pairs

SEEN = SeenUnit("active", "u1", 2)


def _object(*, node: str = "n1", state: str = "active", observed: int = 2, reporter: str = "n1") -> Object:
    obj = Object(spec=pack(Unit()))
    obj.metadata.namespace, obj.metadata.name, obj.metadata.uid, obj.metadata.generation = "default", "web", "u1", 2
    obj.metadata.labels["node"] = node
    if state:
        obj.status.CopyFrom(pack(UnitStatus(active_state=state, observed_generation=observed, node=reporter)))
    return obj


def test_a_unit_that_is_as_it_should_be() -> None:
    assert problems([_object()], {"n1": {"default/web": SEEN}, "n2": {}}) == []


@pytest.mark.parametrize(
    ("obj", "machines", "problem"),
    [
        (_object(node=""), {}, "default/web has no node"),
        (_object(), {"n1": {}}, "default/web is not on n1"),
        (_object(), {"n1": {"default/web": SeenUnit("failed", "u1", 2)}}, "default/web on n1 is failed, not active"),
        (_object(), {"n1": {"default/web": SeenUnit("active", "u1", 1)}}, "default/web on n1 is at generation 1 of 2"),
        (_object(), {"n1": {"default/web": SeenUnit("active", "u0", 2)}}, "default/web on n1 is of an earlier object"),
        (_object(state=""), {"n1": {"default/web": SEEN}}, "its status is of generation 0 of 2"),
        (_object(observed=1), {"n1": {"default/web": SEEN}}, "its status is of generation 1 of 2"),
        (_object(state="failed"), {"n1": {"default/web": SEEN}}, "default/web is reported failed on n1"),
        (_object(reporter="n2"), {"n1": {"default/web": SEEN}}, "default/web is reported active on n2"),
        (_object(), {"n1": {"default/web": SEEN, "default/old": SEEN}}, "default/old is on n1, but not in the store"),
        (_object(), {"n1": {"default/web": SEEN}, "n2": {"default/web": SEEN}}, "on n2, but not bound to it"),
    ],
)
def test_what_is_wrong_is_said(obj: Object, machines: dict[str, dict[str, SeenUnit]], problem: str) -> None:
    assert any(problem in line for line in problems([obj], machines))


def test_a_stopped_unit_should_be_inactive() -> None:
    obj = _object(state="inactive")
    obj.spec.CopyFrom(pack(Unit(state=Unit.STOPPED)))
    assert problems([obj], {"n1": {"default/web": SeenUnit("inactive", "u1", 2)}}) == []
    assert problems([obj], {"n1": {"default/web": SEEN}}) == ["default/web on n1 is active, not inactive"]


def test_a_status_stands_beside_what_the_machine_says() -> None:
    (pair,) = status_pairs([_object(state="failed")], {"n1": {"default/web": SEEN}})
    assert (pair.reported_state, pair.actual_state, pair.reported_generation) == ("failed", "active", 2)
    (pair,) = status_pairs([_object(state="")], {})
    assert (pair.reported_state, pair.actual_state) == (None, None)
