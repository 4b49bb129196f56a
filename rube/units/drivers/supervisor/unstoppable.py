"""Errors for processes that cannot be ended: which, why, and what to do."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rube.units.drivers.supervisor import processes

NAMED_MAX = 3
"""Processes that are named; the others are counted."""


def refused_words(pids: Iterable[int]) -> str:
    """Describes processes of a user whom this one may not signal, such as set-uid programs. Empty without any."""
    named, rest = _named(pids)
    if not named:
        return ""
    kill = " ".join(["kill -9", *(str(pid) for pid, _ in named)])
    return (
        f"{', '.join(words for _, words in named)}{rest} may not be signalled by the rubelet, which runs as uid "
        f"{os.geteuid()}: end it as root ({kill}), or run the rubelet as root"
    )


def lasting_words(pids: Iterable[int]) -> str:
    """Describes processes that outlast SIGKILL, because a device or a file system hangs. Empty without any."""
    named, rest = _named(pids)
    if not named:
        return ""
    return (
        f"{', '.join(words for _, words in named)}{rest} has not ended after SIGKILL: see what it waits for "
        f"(cat /proc/{named[0][0]}/wchan), or restart the machine"
    )


def _named(pids: Iterable[int]) -> tuple[list[tuple[int, str]], str]:
    found = [(pid, words) for pid in sorted(pids) if (words := _describe(pid))]
    rest = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return found[:NAMED_MAX], rest


def _describe(pid: int) -> str:
    found = processes.stat(pid)
    if found is None or not found.living:
        return ""
    try:
        uid = f", uid {os.stat(f'/proc/{pid}').st_uid}"
    except OSError:
        return ""
    return f"process {pid} ({found.comm}{uid})"
