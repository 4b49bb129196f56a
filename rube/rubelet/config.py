"""The configuration of a rubelet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rube import __version__
from rube.controllers.backoff import BackoffConfig
from rube.controllers.config import DecisionObserver, RefusalObserver, observe_no_refusal, observe_nothing
from rube.rubelet.identity import IdentityPolicy

__all__ = ["RubeletConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RubeletConfig:
    """The identity of a rubelet, its servers, and the place of its copy. Times in seconds."""

    # The node's name, a DNS label.
    node: str
    # Apiservers, `host:port` or `unix:/path`, in order of preference.
    servers: Sequence[str]
    # The engine of the local store, such as `sqlite:////var/lib/rube/rubelet.db`.
    data_url: str
    # New with each boot of the machine (Linux: /proc/sys/kernel/random/boot_id), after which nothing of the last boot
    # runs.
    boot_id: str
    # The machine's own identity (machine-id(5)); empty: unknown, and not checked.
    machine_id: str = ""
    # What to do with a data directory of another machine or node.
    identity_policy: IdentityPolicy = "keep"
    # The address of the local copy's server, such as `unix:/run/rube/rubelet.sock`; empty: no server.
    listen: str = ""
    version: str = __version__
    # The duration of the node's lease: the node is silent once the lease was not renewed for so long.
    lease_s: float = 40.0
    renew_s: float = 10.0
    # The pause between two attempts to reach an apiserver, for the lease.
    retry_s: float = 2.0
    # The interval of looks at everything on this machine.
    resync_s: float = 60.0
    backoff: BackoffConfig = field(default_factory=BackoffConfig)
    # Called with each decision.
    observer: DecisionObserver = observe_nothing
    # Called with each call that an apiserver refused.
    refusals: RefusalObserver = observe_no_refusal
    strict: bool = False  # as in RuntimeConfig
