"""Cluster controllers in a Raft group of their own: the leader decides, and what it decided is replicated first.

The group agrees on the rows that a controller's runtime keeps (`Rows`) and on whose term it is; `ReplicatedControllers`
is one process of it. Why it is so: docs/decisions/replicated-controllers.md.
"""

from rube.controllers.replicated.controllers import ReplicatedConfig, ReplicatedControllers

__all__ = ["ReplicatedConfig", "ReplicatedControllers"]
