"""The ports: everything a component may know of its machine, as Protocols with written contracts.

A component is constructed with a `Host` and reaches the outside through nothing else, so that the same component runs
on a real machine and in the simulated world. This package also has the real clock and the real randomness, which need
no library. The other adapters are beside the libraries that they adapt: `rube.transport` (network), `rube.store`
(engines), `rube.sim` (all of them, simulated).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rube.host.clock import Clock
from rube.host.engine import Engine, EngineView, Remains, Wreck, Write
from rube.host.host import Host, Storage, Wrecks
from rube.host.network import Admission, ChannelTls, Network, ServerOptions, ServerTls
from rube.host.randomness import Randomness
from rube.lazy import lazy_names

if TYPE_CHECKING:
    from rube.host.real_clock import RealClock
    from rube.host.real_randomness import RealRandomness

__all__ = [
    "Admission",
    "ChannelTls",
    "Clock",
    "Engine",
    "EngineView",
    "Host",
    "Network",
    "Randomness",
    "RealClock",
    "RealRandomness",
    "Remains",
    "ServerOptions",
    "ServerTls",
    "Storage",
    "Wreck",
    "Wrecks",
    "Write",
]

if not TYPE_CHECKING:  # to a type checker it would mean that there is every name
    __getattr__ = lazy_names(__name__, {"real_clock": "RealClock", "real_randomness": "RealRandomness"})
