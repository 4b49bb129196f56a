"""A relay: a read-only apiserver that watches the apiservers behind it once and serves many.

`upstream` asks the apiservers for their newest revision and keeps a copy of all objects by one watch; `store` gives it
the promises of a store; `service` answers reads and watches from it with the verbs of `rube.server`, and hands
everything else on by `forwarding`; `relay` is the lifecycle.
"""

from __future__ import annotations

from rube.server.relay.config import RelayConfig
from rube.server.relay.relay import Relay

__all__ = ["Relay", "RelayConfig"]
