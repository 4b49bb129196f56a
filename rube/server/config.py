"""What an apiserver can be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rube.host import ServerOptions
from rube.host.network import RESPONSE_BYTES_MAX

__all__ = ["ApiServerConfig", "SpecCheck"]

# All that is wrong with a spec, given its canonical bytes: fields and what is wrong with each. Pure.
SpecCheck = Callable[[bytes], Sequence[tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerConfig:
    """Where an apiserver listens and what bounds it. Each limit carries its unit at the end of its name."""

    # `host:port` or `unix:/path`; port 0: any free one.
    listen: Sequence[str] = ("127.0.0.1:7823",)
    server_options: ServerOptions = field(default_factory=ServerOptions)

    # By type: what is asked of each spec that a put would change. Nothing is asked of other types.
    spec_checks: Mapping[str, SpecCheck] = field(default_factory=dict)

    # Lists: the page a client gets that asks for none, the largest it can ask for, and what ends a page earlier.
    page_size_default: int = 500
    page_objects_max: int = 5_000
    page_bytes_max: int = RESPONSE_BYTES_MAX
    # Objects looked at for one page: a selector that matches little gets short pages instead of a long call, and the
    # initial objects of a watch come with a sign of life this often.
    page_scanned_objects_max: int = 20_000

    # Watches: one response holds at most this much, initial ones too, unless a single revision is larger.
    watch_response_events_max: int = 1_000
    watch_response_bytes_max: int = 1024 * 1024
    # How long a watch may say nothing about revisions that did not concern it.
    bookmark_interval_s: float = 5.0
    # Parsed objects that watches share.
    event_cache_bytes_max: int = 8 * 1024 * 1024

    # Writes that lost a race against another server on the same store are decided anew this often.
    retries_max: int = 10
    # Writes that wait for the same object.
    waiters_per_key_max: int = 1_000

    # Answers that nodes give through this server, such as logs: of one node, and of all.
    node_answers_max: int = 16
    answers_max: int = 256

    # Compaction keeps this many revisions (as etcd's `--auto-compaction-mode revision`); 0: never compact.
    history_revisions_max: int = 10_000
    compaction_interval_s: float = 60.0
