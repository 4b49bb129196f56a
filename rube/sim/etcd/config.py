"""The configuration of a member of a simulated etcd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rube.group import MemberConfig as GroupConfig
from rube.group import MemberObserver
from rube.host import Host

CLIENT_PORT = 2379
PEER_PORT = 2380
DATA_URL = "memory:/var/lib/etcd"
LOG_ENTRIES_KEPT = 5000

# etcd sends so many heartbeats in an election's timeout.
_ELECTION_TICKS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """etcd's defaults."""

    election_timeout_s: float = 1.0
    """A member that hears from no leader for one to two times so long campaigns."""
    request_timeout_s: float = 7.0
    """How long a request waits until it is committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """The bugs of etcd 3.4.23, seen in a real one. Its users run that version, so it is the default."""

    progress_overtakes: bool = True
    """A progress response that was asked for may overtake events that it claims to cover (etcd #15220)."""
    keeps_compacted_deletes: bool = True
    """A watch from the compacted revision may get a delete at that revision, without its previous value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberConfig:
    """One member. The defaults are etcd's own."""

    name: str
    peers: Mapping[str, str] = field(default_factory=dict)
    """The address at which each member, this one too, listens for the others; by its name. Empty: this one is alone."""
    data_url: str = DATA_URL
    quota_bytes: int = 2 * 1024**3
    log_entries_kept: int = LOG_ENTRIES_KEPT
    """The log keeps so many applied entries; a member that is further behind gets a snapshot."""
    timing: Timing = field(default_factory=Timing)
    quirks: Quirks = field(default_factory=Quirks)
    sync_interval_s: float = 0.1
    """The interval in which watches that are behind are served."""
    users: Mapping[str, str] = field(default_factory=dict)
    """Passwords by user; not empty: every request needs a token."""
    observer: MemberObserver | None = field(default=None, repr=False, compare=False)
    """Sees every step of this member's Raft."""

    def in_group(self, host: Host, listen: str) -> GroupConfig:
        """Returns the configuration of the Raft group's member below this one, with the switches of etcd 3.4."""
        peers = self.peers or {self.name: f"{host.name}:{PEER_PORT}"}
        return GroupConfig(
            name=self.name,
            listen=listen,
            members=tuple(peers.items()),
            tick_s=self.timing.election_timeout_s / _ELECTION_TICKS,
            election_ticks=_ELECTION_TICKS,
            pre_vote=False,
            patience_s=self.timing.request_timeout_s,
            log_entries_kept=self.log_entries_kept,
            ends_when_full=True,
            observer=self.observer,
        )
