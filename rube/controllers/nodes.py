"""Node controllers of one's own: what a node hands to their makers, and the makers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from rube.api.errors import InvalidArgumentError
from rube.controllers.config import NodeController
from rube.controllers.naming import find
from rube.host import Host
from rube.installed import NODE_CONTROLLERS


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """A node, as the maker of a node controller sees it at each start of the rubelet."""

    node: str
    boot_id: str
    """New with each boot of the machine."""
    host: Host
    """The ports: the clock, randomness."""
    data: PurePath
    """The rubelet's directory, for the driver's own records: in a directory of its own in there."""


Maker = Callable[[NodeContext], NodeController]


def node_makers(names: Sequence[str]) -> list[Maker]:
    """Returns the function of each name. Raises InvalidArgumentError for a name that gives none."""
    makers: list[Maker] = []
    for name in names:
        found = find(name, NODE_CONTROLLERS)
        if not callable(found):
            raise InvalidArgumentError(
                f"{name!r} is no function that makes a node controller: name one that takes a NodeContext "
                "(rube.controllers.nodes)",
                field="controllers",
            )
        makers.append(found)
    return makers


def make_node_controllers(makers: Sequence[Maker], context: NodeContext) -> list[NodeController]:
    """Returns what the makers make. Raises InvalidArgumentError for one that fails, or makes something else."""
    made: list[NodeController] = []
    for maker in makers:
        name = f"{getattr(maker, '__module__', '?')}:{getattr(maker, '__name__', '?')}"
        try:
            one = maker(context)
        except Exception as error:  # whatever a user's function raises
            raise InvalidArgumentError(
                f"node controller {name!r} cannot be made: {type(error).__name__}: {error}", field="controllers"
            ) from error
        if not isinstance(one, NodeController):
            raise InvalidArgumentError(
                f"{name!r} returned {type(one).__name__}, and no NodeController (rube.controllers.config)",
                field="controllers",
            )
        made.append(one)
    return made
