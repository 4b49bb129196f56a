"""Times on the command line."""

from __future__ import annotations

import re
import time  # noqa: TID251 (a command has no host: its ages are counted from this machine's clock)
from typing import Final

import click

from ructl.ground import given_ground

_UNITS_S: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|min|s|m|h|d|)")


class Duration(click.ParamType[float]):
    """A duration in seconds, such as 90, 90s, 10m, 1h30m or 2d."""

    name = "duration"

    def __init__(self, *, at_least_s: float = 0.0) -> None:
        self._at_least_s = at_least_s

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        text = str(value)
        parts = _PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f"{text!r} is no duration: write such as 90s, 10m, 1h30m or 2d", param, ctx)
        found = float(sum(float(number) * _UNITS_S[unit] for number, unit in parts))
        if found < self._at_least_s:
            self.fail(f"{text!r} is shorter than {self._at_least_s:g} s", param, ctx)
        return found


def now_ns() -> int:
    """Returns the time, as `rube.host.RealClock` does, which would load an event loop."""
    ground = given_ground()
    return time.time_ns() if ground is None else ground.host.clock.now_ns()


def monotonic_s() -> float:
    """Returns a time that only grows, from some moment on."""
    ground = given_ground()
    return time.monotonic() if ground is None else ground.host.clock.monotonic_ns() / 1e9
