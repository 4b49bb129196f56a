"""The memories of the controllers of one process: each decision sees what the one before it asked to keep."""

from __future__ import annotations

from collections.abc import Callable

from rube.controllers.config import Decided


class Memories:
    """Looks over the decisions of one process. Where a commit failed or was cut, the memory before it is seen
    next."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain = complain
        # By controller and key: the memories that may be seen next.
        self._possible: dict[tuple[str, str], list[bytes]] = {}

    def decided(self, decided: Decided) -> None:
        """Notes the memory that was seen, and those that the next decision may see."""
        place = decided.controller, str(decided.key)
        seen, kept = decided.state.memory.value, decided.decision.memory.value
        possible = self._possible.get(place)
        if possible is not None and seen not in possible:
            self._complain(f"{decided.controller} decided about {decided.key} with a memory that it had not kept")
        self._possible[place] = [seen, kept]
