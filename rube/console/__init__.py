"""The parts that the commands `rube`, `rubelet` and `ructl` share: lazy groups of commands, and one form of errors.

It imports little, since every command pays for it.
"""

from __future__ import annotations

from rube.console.groups import LazyCommand, LazyGroup, WholeGroup
from rube.console.voice import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, main, one_line, run_command, visible

__all__ = [
    "EXIT_ERROR",
    "EXIT_INTERRUPTED",
    "EXIT_USAGE",
    "LazyCommand",
    "LazyGroup",
    "WholeGroup",
    "main",
    "one_line",
    "run_command",
    "visible",
]
