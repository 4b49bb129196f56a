"""The annotation by which a user asks for a restart. Those of placement are in `rube.api.binding`."""

from __future__ import annotations

from typing import Final

__all__ = ["RESTART_ANNOTATION"]

RESTART_ANNOTATION: Final = "rube/restart"
"""Asks a unit's node to restart it once for each new value. A put that omits it keeps it; an empty value removes it."""
