"""The errors of the kernel. These are errors of a simulation, not of the API: they carry no gRPC code."""

from __future__ import annotations

from collections.abc import Sequence

DESCRIBED_CHARS_MAX = 500


class SimulationError(Exception):
    """Base of every error the simulation kernel raises."""


class SimulatedIOError(SimulationError, NotImplementedError):
    """The loop was asked for real I/O: sockets, pipes, subprocesses, signals, threads."""


class EntropyError(SimulationError):
    """Simulated code reached for real time, randomness, files, sockets, processes or threads."""


class DeadlockError(SimulationError):
    """Nothing is scheduled any more, and the end that `World.run` waits for has not come."""


class LivelockError(SimulationError):
    """Callbacks kept scheduling callbacks at one instant: virtual time stands still."""


class RunTimeoutError(SimulationError, TimeoutError):
    """The virtual time allowed to `World.run` or `World.run_until` has passed."""


class WorldClosedError(SimulationError):
    """The world was closed: nothing runs in it any more."""


class HostStateError(SimulationError):
    """The host or process is not in the state the call needs: off, paused, or the name is taken."""


class ProcessDiedError(SimulationError):
    """The process that ran the awaited code died before the code ended."""


class ProcessFenced(BaseException):
    """A dead incarnation called a port. Not an `Exception`, so that no retry loop swallows it."""


class SimulationFailures(ExceptionGroup[Exception]):
    """Exceptions that no simulated code handled, in the order in which they surfaced."""

    @property
    def causes(self) -> list[Exception]:
        """The exceptions themselves, without the groups that tasks have put around them; equal ones once."""
        found: dict[str, Exception] = {}
        waiting: list[Exception] = [*self.exceptions]
        while waiting:
            error = waiting.pop(0)
            if isinstance(error, ExceptionGroup):
                waiting[:0] = error.exceptions
            else:
                found.setdefault(describe(error), error)
        return list(found.values())

    def derive(  # type: ignore[override]  # typeshed's overload admits BaseExceptions, which are never put in
        self, excs: Sequence[Exception], /
    ) -> SimulationFailures:
        """Keeps the class when `except*` splits the group."""
        return SimulationFailures(self.message, excs)


def describe(error: BaseException) -> str:
    """Returns one line: the kind of error, its message, and where it was noticed."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said[:DESCRIBED_CHARS_MAX]}{notes}"
