"""The effects that the state machine asks its owner for, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spawn:
    """Starts command `index` of the Exec list `list` as the main or the control process."""

    main: bool
    list: str
    index: int


@dataclass(frozen=True)
class Kill:
    """Signals the main and the control process and, if `rest`, all others; SIGHUP too, if `hangup`."""

    signal: int
    rest: bool
    hangup: bool = False


@dataclass(frozen=True)
class FindMain:
    """Looks for the main process (the PID file, or a guess) and answers with `main_found` or `main_missing`."""


@dataclass(frozen=True)
class Load:
    """A start begins: read the definition, which may be new, and answer with `loaded`."""


Effect = Spawn | Kill | FindMain | Load
