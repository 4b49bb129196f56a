"""Types of objects: those that are built in, and those that users push to a running cluster."""

from __future__ import annotations

from rube.api.types.kinds import BUILTIN, Column, Kind, Types, pack

__all__ = ["BUILTIN", "Column", "Kind", "Types", "pack"]
