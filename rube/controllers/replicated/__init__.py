"""Cluster controllers in a Raft group of their own: the leader decides, and its decisions are replicated first.

The group agrees on the rows of its controllers' runtimes (`Rows`) and on the present term; `ReplicatedControllers` is
one process of it. The reasons: docs/decisions/replicated-controllers.md.
"""

from __future__ import annotations

from rube.controllers.replicated.controllers import ReplicatedConfig, ReplicatedControllers

__all__ = ["ReplicatedConfig", "ReplicatedControllers"]
