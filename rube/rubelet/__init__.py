"""The node's daemon: a local copy of what is bound to this node, the node controllers, and the node's own status.

It knows no apiserver but through `rube.client`, and runs on without one. Not here: what a controller decides
(`rube.controllers`), how units are run (the drivers, handed in), the command line (`rube.cli`).
"""

from rube.rubelet.config import RubeletConfig
from rube.rubelet.rubelet import Rubelet

__all__ = ["Rubelet", "RubeletConfig"]
