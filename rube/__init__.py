"""Rube: a control plane for typed protobuf resources whose shipped code is its simulated code.

The floors, from the bottom: `api` (messages, keys, codec, errors), `host` (the ports to clock, network, storage
and randomness), `store` and `transport`, `client`, `controllers`, the daemons `server` and `rubelet`, the
simulated world `sim`, and the commands `cli` (and `ructl` beside this package).
"""

__version__ = "0.1.0"
