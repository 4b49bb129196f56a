"""The ground that a command stands on: this machine, or a world in which its program runs it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

if TYPE_CHECKING:
    from rube.host import Host, Randomness

T = TypeVar("T")


class Ground(Protocol):
    """A ground other than this machine. Its program hands it to `ructl.main.run`."""

    @property
    def stop_after_s(self) -> float:
        """A command that goes on until Ctrl-C is stopped after this long."""

    @property
    def host(self) -> Host: ...

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs `main` to its end and returns its result."""


def given_ground() -> Ground | None:
    """Returns the ground that the running command was given; None: it runs on this machine."""
    context = click.get_current_context(silent=True)
    found: Ground | None = context.find_root().obj if context is not None else None
    return found


def randomness() -> Randomness:
    """Returns the randomness of the running command."""
    if (ground := given_ground()) is not None:
        return ground.host.random
    from rube.host import RealRandomness

    return RealRandomness()
