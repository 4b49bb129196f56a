"""Tasks and futures whose hash is a counter, so that sets of them have one order in every run."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from rube.sim.kernel.loop import SimLoop
    from rube.sim.kernel.process import SimProcess


class SimFuture(asyncio.Future[Any]):
    """A future numbered when it is first hashed: most never are."""

    __slots__ = ("_number",)

    _number: int

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            self._number = cast("SimLoop", self.get_loop()).next_number()
            return self._number


class SimTask(asyncio.Task[Any]):
    """A task numbered at its creation (asyncio's register of tasks hashes it) that knows its process."""

    __slots__ = ("number", "process")

    number: int
    process: "SimProcess"

    def __hash__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return f"<SimTask {self.get_name()} of {self.process}>"

    def silence(self) -> None:
        """Make the destructor keep quiet: the task's process is dead, and so is the task."""
        self._log_destroy_pending = False
