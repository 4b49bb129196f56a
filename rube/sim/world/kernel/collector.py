"""The garbage collector, held still while a world is open: when it ran would depend on everything ever allocated."""

from __future__ import annotations

import gc
from contextvars import Context

HOUSEKEEPINGS_PER_COLLECTION = 50
"""Housekeepings (see scheduler.EVENTS_PER_HOUSEKEEPING) between two collections inside a world."""

WORLDS_PER_FULL_COLLECTION = 32
"""So many worlds may begin before all generations are collected, which walks the interpreter's whole heap."""

_open_worlds = 0
_begun_worlds = 0
_was_enabled = False


def hold() -> None:
    """Switches automatic collection off until as many `release` as `hold` were called.

    The garbage of earlier worlds is collected first: a series of short worlds gives the collector no other chance.
    """
    global _open_worlds, _begun_worlds, _was_enabled
    if _open_worlds == 0:
        _begun_worlds += 1
        gc.collect(2 if _begun_worlds % WORLDS_PER_FULL_COLLECTION == 0 else 1)
        _was_enabled = gc.isenabled()
        gc.disable()
    _open_worlds += 1


def release() -> None:
    """Undoes one `hold`."""
    global _open_worlds
    _open_worlds -= 1
    if _open_worlds == 0 and _was_enabled:
        gc.enable()


def collect() -> None:
    """Collect young garbage now, in no process: destructors that run find no current process."""
    Context().run(gc.collect, 1)
