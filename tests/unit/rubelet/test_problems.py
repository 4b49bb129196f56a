"""The problems in a node's status, which no object's status can tell."""

from __future__ import annotations

from rube.api import Decision, State
from rube.api.keys import ObjectKey
from rube.controllers.config import Decided
from rube.rubelet.problems import PROBLEM_CHARS_MAX, PROBLEMS_MAX, Problems


def decided(name: str, error: str, type_name: str = "acme.Lamp") -> Decided:
    key = ObjectKey(type_name, "default", name)
    return Decided(controller="lamps", key=key, state=State(action_error=error), decision=Decision())


def problem_of(decided: Decided) -> str:
    return decided.state.action_error and f"{decided.key.name}: {decided.state.action_error}"


def test_a_problem_is_told_until_a_decision_shows_none() -> None:
    problems = Problems([])
    note = problems.observer(problem_of)
    for why in ("it is stuck", "it is broken"):
        note(decided("hall", why))
        assert problems.all() == [f"hall: {why}"]
    note(decided("hall", ""))
    assert problems.all() == []


def test_controllers_of_two_types_tell_beside_each_other() -> None:
    problems = Problems([])
    lamps, doors = problems.observer(problem_of), problems.observer(lambda decided: f"door {decided.key.name}")
    lamps(decided("hall", "it is stuck"))
    doors(decided("hall", "", "acme.Door"))
    assert problems.all() == ["door hall", "hall: it is stuck"]
    lamps(decided("hall", ""))
    assert problems.all() == ["door hall"]


def test_what_the_node_itself_suffers_comes_first_and_all_is_bounded() -> None:
    problems = Problems([lambda: "the disk is full", lambda: ""])
    note = problems.observer(problem_of)
    for number in range(PROBLEMS_MAX + 4):
        note(decided(f"u{number:02}", "x" * 1000))
    told = problems.all()
    assert told[0] == "the disk is full"
    assert told[-1] == "and 5 more"
    assert len(told) == PROBLEMS_MAX + 1
    assert max(map(len, told)) == PROBLEM_CHARS_MAX
