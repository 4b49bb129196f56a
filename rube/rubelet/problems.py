"""The problems of a node that no object's own status can show, for the node's status."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rube.api.keys import ObjectKey
from rube.controllers.config import Decided, DecisionObserver

PROBLEMS_MAX = 10
"""The most problems that are shown; the others are counted."""
PROBLEM_CHARS_MAX = 500


class Problems:
    """Things of deleted objects that are still here, with the reason, after the problems of `sources`.

    A deleted object has no status in which its node could say why it cannot remove the thing.
    """

    def __init__(self, sources: Sequence[Callable[[], str]]) -> None:
        self._sources = sources
        self._known: dict[ObjectKey, str] = {}

    def observer(self, problem: Callable[[Decided], str]) -> DecisionObserver:
        """Returns an observer of a controller's decisions, each of which has one problem or none."""

        def note(decided: Decided) -> None:
            if said := problem(decided):
                self._known[decided.key] = said
            else:
                self._known.pop(decided.key, None)

        return note

    def all(self) -> list[str]:
        told = [problem for source in self._sources if (problem := source())]
        told += [problem for _, problem in sorted(self._known.items())]
        shown = [problem[:PROBLEM_CHARS_MAX] for problem in told[:PROBLEMS_MAX]]
        return [*shown, f"and {len(told) - PROBLEMS_MAX} more"] if len(told) > PROBLEMS_MAX else shown
