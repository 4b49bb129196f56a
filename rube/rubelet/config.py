"""The configuration of a rubelet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rube import __version__
from rube.controllers.backoff import BackoffConfig
from rube.controllers.config import DecisionObserver, RefusalObserver, observe_no_refusal, observe_nothing
from rube.rubelet.identity import IdentityPolicy


def ignore(_: str) -> None:
    """Does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RubeletConfig:
    """The identity of a rubelet, its servers, and the place of its copy. Times in seconds."""

    node: str
    """The node's name, a DNS label."""
    servers: Sequence[str]
    """Apiservers, `host:port` or `unix:/path`, in order of preference."""
    data_url: str
    """The engine of the local store, such as `sqlite:////var/lib/rube/rubelet.db`."""
    boot_id: str
    """New with each boot of the machine (Linux: /proc/sys/kernel/random/boot_id), after which nothing of the last boot
    runs."""
    machine_id: str = ""
    """The machine's own identity (machine-id(5)); empty: unknown, and not checked."""
    identity_policy: IdentityPolicy = "keep"
    """The treatment of a data directory of another machine or node."""
    listen: str = ""
    """The address of the local copy's server, such as `unix:/run/rube/rubelet.sock`; empty: no server."""
    version: str = __version__
    lease_s: float = 40.0
    """The duration of the node's lease: the node is silent once the lease was not renewed for so long."""
    renew_s: float = 10.0
    retry_s: float = 2.0
    """The pause between two attempts to reach an apiserver, for the lease."""
    resync_s: float = 60.0
    """The interval of looks at everything on this machine."""
    backoff: BackoffConfig = field(default_factory=BackoffConfig)
    observer: DecisionObserver = observe_nothing
    """Called with each decision."""
    refusals: RefusalObserver = observe_no_refusal
    """Called with each call that an apiserver refused."""
    problems: Sequence[Callable[[], str]] = ()
    """Each returns a problem of this node for its status; empty if there is none."""
    identified: Callable[[str], None] = ignore
    """Called with the instance of this node once it is known."""
    strict: bool = False
    """As in RuntimeConfig."""
