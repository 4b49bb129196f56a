"""The node's daemon: a local copy of what is bound to this node, the node controllers, and the node's own status.

It knows no apiserver but through `rube.client`, and runs on without one. Not here: what there is to control
(node controllers with their drivers are handed in; `rube.units` has the one for units), the command line (`rube.cli`).
"""

from rube.rubelet.config import RubeletConfig
from rube.rubelet.purge import Purged, purge_node
from rube.rubelet.rubelet import Rubelet

__all__ = ["Purged", "Rubelet", "RubeletConfig", "purge_node"]
