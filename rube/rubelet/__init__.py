"""The node's daemon: a local copy of the objects bound to this node, the node controllers, and the node's own status.

It reaches apiservers only through `rube.client`, and runs on without one. Controllers decide (`rube.controllers`),
drivers, which the caller passes in, run things such as units, and `rube.cli` has the command line.
"""

from __future__ import annotations

from rube.rubelet.config import RubeletConfig
from rube.rubelet.purge import Purged, purge_node
from rube.rubelet.rubelet import Rubelet

__all__ = ["Purged", "Rubelet", "RubeletConfig", "purge_node"]
