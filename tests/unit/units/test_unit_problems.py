"""The problem that a decision shows and no unit's status can tell."""

from __future__ import annotations

import pytest

from rube.api import Decision, State, UnitObservation
from rube.api.keys import ObjectKey
from rube.controllers.config import Decided
from rube.units.node_controller import problem_of


def decided(
    *, deleted: bool = True, installed: bool = True, error: str = "", unseen: str = "", failed: str = ""
) -> Decided:
    state = State(observe_error=unseen, action_error=failed)
    state.observed.Pack(UnitObservation(installed=installed, error=error))
    if not deleted:
        state.object.metadata.name = "web"
    key = ObjectKey("api.systemd.Unit", "default", "web")
    return Decided(controller="unit", key=key, state=state, decision=Decision())


@pytest.mark.parametrize("why", [{"error": "a process lives"}, {"unseen": "a later format"}, {"failed": "no disk"}])
def test_a_deleted_unit_that_stays_is_a_problem(why: dict[str, str]) -> None:
    (reason,) = why.values()
    said = problem_of(decided(**why))  # type: ignore[arg-type]  # the names are above
    assert said == f"unit default/web was deleted and cannot be removed: {reason}"


def test_a_deleted_unit_that_has_gone_or_goes_is_none() -> None:
    assert problem_of(decided(installed=False, failed="no disk")) == ""
    assert problem_of(decided()) == ""


def test_a_unit_with_an_object_tells_its_own_troubles() -> None:
    assert problem_of(decided(deleted=False, error="a process lives")) == ""
