"""The calls of a history, and a recorder that tests put around their calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

Result = TypeVar("Result", bound=Hashable)


class Unknown(Enum):
    """The type of UNKNOWN."""

    UNKNOWN = "unknown"


UNKNOWN = Unknown.UNKNOWN
"""The result of a call whose outcome its client never learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a client. Times are of one clock, in any unit: an order is all that they give."""

    process: str
    """The client; it makes one call at a time."""
    action: str
    """The name of the call, as the model knows it: `read`, `write`, `cas`."""
    key: str = ""
    """The part of the state that it is about. Calls of different keys don't affect each other."""
    argument: Hashable = None
    result: Hashable = None
    """The answer; UNKNOWN if there was none."""
    start: int
    end: int | None
    """None: its outcome is unknown. It may take effect at any time after its start, or never."""

    def __str__(self) -> str:
        about = f" of {self.key!r}" if self.key else ""
        given = "" if self.argument is None else f" {self.argument!r}"
        answer = "without an answer" if self.end is None else f"→ {self.result!r}"
        until = "…" if self.end is None else self.end
        return f"{self.process}'s {self.action}{about}{given} [{self.start}, {until}] {answer}"


class Recorder:
    """Records the calls of a program's clients. `now` returns the time: `world.now_ns` of a simulation, say."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._calls: list[Call] = []
        self._lost = 0

    @property
    def calls(self) -> list[Call]:
        """Those that have ended, in the order of their ends."""
        return list(self._calls)

    async def call(
        self,
        answer: Awaitable[Result],
        *,
        process: str,
        action: str,
        key: str = "",
        argument: Hashable = None,
        never_happened: tuple[type[BaseException], ...] = (),
    ) -> Result:
        """Returns what `answer` returns, and records it as the call's result.

        A call that raises has an unknown outcome, a cancelled one too, unless the exception is one of
        `never_happened`: then nothing is recorded. After an unknown outcome the client goes on under another name,
        since its call may still be under way.
        """
        start = self._now()
        try:
            result = await answer
        except never_happened:
            raise
        except BaseException:
            self._lost += 1
            self._calls.append(
                Call(
                    process=f"{process}~{self._lost}",
                    action=action,
                    key=key,
                    argument=argument,
                    result=UNKNOWN,
                    start=start,
                    end=None,
                )
            )
            raise
        self._calls.append(
            Call(
                process=process,
                action=action,
                key=key,
                argument=argument,
                result=result,
                start=start,
                end=self._now(),
            )
        )
        return result
