"""Rube: a control plane for typed protobuf resources whose shipped code is its simulated code.

The floors, from the bottom: `api` (messages, keys, codec, errors), `host` (the ports to clock, network, storage
and randomness), `raft` and `transport`, `group` (a member of a Raft group), `store`, `client`, `controllers`, the
daemons `server` and `rubelet` beside `units` (systemd units and their drivers), the simulated world `sim`, `console`
(what commands share), and the commands `cli` (and `ructl` beside this package).

The loose modules are about the installation: `distribution` (its name and extras), `installed` (packages that bring
types and controllers), `shipped` (scenarios and examples), `compiler` (of .proto files) and `lazy` (imports on use).
"""

from __future__ import annotations

try:
    from rube._version import __version__  # written when this is installed
except ModuleNotFoundError:
    __version__ = "0+not.installed"

__all__ = ["__version__"]
