"""What a node tells of itself that no unit's status can."""

from __future__ import annotations

from rube.api import Decision, State, UnitObservation
from rube.api.keys import ObjectKey
from rube.controllers.config import Decided
from rube.rubelet.problems import PROBLEM_CHARS_MAX, PROBLEMS_MAX, Problems


def decided(
    name: str, *, deleted: bool = True, installed: bool = True, error: str = "", unseen: str = "", failed: str = ""
) -> Decided:
    state = State(observe_error=unseen, action_error=failed)
    state.observed.Pack(UnitObservation(installed=installed, error=error))
    if not deleted:
        state.object.metadata.name = name
    key = ObjectKey("api.systemd.Unit", "default", name)
    return Decided(controller="unit", key=key, state=state, decision=Decision())


def test_a_deleted_unit_that_stays_is_told_until_it_is_gone() -> None:
    problems = Problems([])
    for why in ({"error": "a process lives"}, {"unseen": "a later format"}, {"failed": "no disk"}):
        problems.note(decided("web", **why))  # type: ignore[arg-type]  # the names are above
        (told,) = problems.all()
        assert told == f"unit default/web was deleted and cannot be removed: {next(iter(why.values()))}"
    problems.note(decided("web", installed=False, failed="no disk"))
    assert problems.all() == []


def test_a_unit_with_an_object_tells_its_own_troubles() -> None:
    problems = Problems([])
    problems.note(decided("web", deleted=False, error="a process lives"))
    assert problems.all() == []


def test_what_the_node_itself_suffers_comes_first_and_all_is_bounded() -> None:
    problems = Problems([lambda: "the disk is full", lambda: ""])
    for number in range(PROBLEMS_MAX + 4):
        problems.note(decided(f"u{number:02}", error="x" * 1000))
    told = problems.all()
    assert told[0] == "the disk is full"
    assert told[-1] == "and 5 more"
    assert len(told) == PROBLEMS_MAX + 1
    assert max(map(len, told)) == PROBLEM_CHARS_MAX
