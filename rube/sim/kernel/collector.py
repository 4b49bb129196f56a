"""The garbage collector, held still while a world is open: when it ran would depend on everything ever allocated."""

import gc
from contextvars import Context

HOUSEKEEPINGS_PER_COLLECTION = 50
"""Housekeepings (see scheduler.EVENTS_PER_HOUSEKEEPING) between two collections."""

_open_worlds = 0
_was_enabled = False


def hold() -> None:
    """Switch automatic collection off until as many `release` as `hold` were called."""
    global _open_worlds, _was_enabled
    if _open_worlds == 0:
        _was_enabled = gc.isenabled()
        gc.disable()
    _open_worlds += 1


def release() -> None:
    """Undo one `hold`."""
    global _open_worlds
    _open_worlds -= 1
    if _open_worlds == 0 and _was_enabled:
        gc.enable()


def collect() -> None:
    """Collect young garbage now, in no process: destructors that run find no current process.

    The full collection is left to the end of the world: it would walk the whole interpreter's heap each time.
    """
    Context().run(gc.collect, 1)
