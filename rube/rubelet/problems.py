"""What a node cannot do and no unit's own status can say, for the node's status."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rube.api import UnitObservation
from rube.api.keys import ObjectKey
from rube.controllers.config import Decided

__all__ = ["Problems"]

PROBLEMS_MAX = 10
"""Problems that are told; the others are counted."""
PROBLEM_CHARS_MAX = 500


class Problems:
    """Deleted units that are still here, with the reason, and what else it is asked for (`sources`), which comes first.

    A deleted unit has no object, so nobody who asks for it hears why its node cannot remove it.
    """

    def __init__(self, sources: Sequence[Callable[[], str]]) -> None:
        self._sources = sources
        self._left: dict[ObjectKey, str] = {}

    def note(self, decided: Decided) -> None:
        """An observer of the unit controller's decisions."""
        why = "" if decided.state.HasField("object") else _why_left(decided)
        if why:
            self._left[decided.key] = why
        else:
            self._left.pop(decided.key, None)

    def all(self) -> list[str]:
        told = [problem for source in self._sources if (problem := source())]
        told += [
            f"unit {key.namespace}/{key.name} was deleted and cannot be removed: {why}"
            for key, why in sorted(self._left.items())
        ]
        shown = [problem[:PROBLEM_CHARS_MAX] for problem in told[:PROBLEMS_MAX]]
        return [*shown, f"and {len(told) - PROBLEMS_MAX} more"] if len(told) > PROBLEMS_MAX else shown


def _why_left(decided: Decided) -> str:
    """Why something is still here that has no object; empty where nothing keeps it from being removed."""
    observed = UnitObservation()
    decided.state.observed.Unpack(observed)
    here = observed.installed or bool(decided.state.observe_error)
    return (decided.state.action_error or decided.state.observe_error or observed.error) if here else ""
