"""Rube: a control plane for typed protobuf resources whose shipped code is its simulated code.

The floors, from the bottom: `api` (messages, keys, codec, errors), `host` (the ports to clock, network, storage
and randomness), `store` and `transport`, `client`, `controllers`, the daemons `server` and `rubelet`, the
simulated world `sim`, and the commands `cli` (and `ructl` beside this package).
"""

from __future__ import annotations

try:
    from rube._version import __version__  # written when this is installed
except ModuleNotFoundError:
    __version__ = "0+not.installed"

__all__ = ["__version__"]
