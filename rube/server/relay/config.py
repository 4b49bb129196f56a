"""The configuration of a relay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rube.server.config import ApiServerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """The apiservers that a relay stands for, what it serves, and its limits. Times in seconds."""

    upstream: Sequence[str]
    """The apiservers of one store, or relays of it: `host:port` or `unix:/path`, in order of preference."""
    server: ApiServerConfig = field(default_factory=ApiServerConfig)
    """Its addresses and the limits of reads and watches; of history, how far back its own watches go."""
    lookback_revisions: int = 1_000
    """A copy begins so many revisions back, if upstream still has them: clients that come from elsewhere resume."""

    ask_interval_s: float = 1.0
    """How often it asks upstream for its revision where no read does."""
    ask_s_max: float = 2.0
    """How long it waits for the answer, over all apiservers."""
    attempt_s_max: float = 1.0
    """And for one of them."""
    catch_up_s_max: float = 1.0
    """How long a read waits until the copy has a revision that upstream has told; then upstream answers it."""
    copy_s_max: float = 30.0
    """How long a page of the objects may take that a copy begins with."""
    connect_s_max: float = 2.0
    """How long a call that is handed on waits for a connection to an apiserver."""
    # The pause before the watch of upstream begins again.
    backoff_s_initial: float = 0.1
    backoff_s_max: float = 2.0
