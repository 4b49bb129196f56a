"""What a node cannot do and no object's own status can say, for the node's status."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rube.api.keys import ObjectKey
from rube.controllers.config import Decided, DecisionObserver

__all__ = ["Problems"]

PROBLEMS_MAX = 10
"""Problems that are told; the others are counted."""
PROBLEM_CHARS_MAX = 500


class Problems:
    """What node controllers read from their decisions, and what else it is asked for (`sources`), which comes first.

    Such as a deleted object's thing that cannot be removed: nobody who asks for the object hears why.
    """

    def __init__(self, sources: Sequence[Callable[[], str]]) -> None:
        self._sources = sources
        self._known: dict[ObjectKey, str] = {}

    def observer(self, problem: Callable[[Decided], str]) -> DecisionObserver:
        """An observer of a controller's decisions, each of which has one problem or none."""

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
