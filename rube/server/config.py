"""The configuration of an apiserver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rube.api.types.violation import Violation
from rube.host import ServerOptions
from rube.host.network import RESPONSE_BYTES_MAX
from rube.server.audit.log import AuditLog
from rube.server.certificates_config import CertificatesConfig, real_begin_of
from rube.server.entrance.limits import FairnessConfig
from rube.server.rights.subjects import RightsConfig

SpecCheck = Callable[[bytes], Sequence[Violation]]
"""Returns all errors of a spec, given its canonical bytes: fields and what is wrong with each. Pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerConfig:
    """The addresses of an apiserver and its limits. Each limit has its unit at the end of its name."""

    listen: Sequence[str] = ("127.0.0.1:7823",)
    """`host:port` or `unix:/path`; port 0: any free one."""
    server_options: ServerOptions = field(default_factory=ServerOptions)

    rights: RightsConfig | None = None
    """None: everyone who reaches the server may do everything."""
    certificates: CertificatesConfig | None = None
    """None: this server gives no certificates, and lets no caller in without one."""
    begin_of: Callable[[bytes], int] = real_begin_of
    """When a certificate in PEM begins, in nanoseconds."""

    audit: AuditLog | None = None
    """None: nothing is logged."""
    fairness: FairnessConfig = field(default_factory=FairnessConfig)

    spec_checks: Mapping[str, SpecCheck] = field(default_factory=dict)
    """The check, by type, of each spec that a put would change. Other types have no check."""

    # Lists: the default page, the largest that a client can ask for, and the bytes that end a page earlier.
    page_size_default: int = 500
    page_objects_max: int = 5_000
    page_bytes_max: int = RESPONSE_BYTES_MAX
    page_scanned_objects_max: int = 20_000
    """Objects read for one page: a selector that matches little gets short pages instead of a long call, and the
    initial objects of a watch come with a sign of life once in so many."""

    # Watches: bytes of one response, initial ones too, unless a single revision is larger.
    watch_response_events_max: int = 1_000
    watch_response_bytes_max: int = 1024 * 1024
    bookmark_interval_s: float = 5.0
    """How long a watch may be silent about revisions without changes for it."""
    event_cache_bytes_max: int = 8 * 1024 * 1024
    """Bytes of the newest events, encoded once for all watches."""
    watch_buffer_bytes_max: int = 256 * 1024
    """Bytes of events that wait for one slow client: past that it is served from the store's log."""
    recent_bytes_max: int = 16 * 1024 * 1024
    """Bytes of the newest changes, among which watches that resume find those that concern them: one that is further
    behind reads the store's log."""
    recent_lookback_revisions: int = 10_000
    """So many revisions before a server's start are read once, if a watch resumes there."""
    index_keys_max: int = 200_000
    """Keys in the index by which lists and initial objects with a label selector are found."""
    watch_reader_pause_s: float = 1.0
    """The one reader of the store, if it has ended, begins anew after so long; meanwhile watches read by themselves."""

    retries_max: int = 10
    """A write that loses a race against another server on the same store is decided again so often."""
    waiters_per_key_max: int = 1_000
    """Writes that wait for the same object."""

    renewals_interval_s: float = 1.0
    """Renewals of leases wait so long for others, to be written with them."""

    # Answers that nodes give through this server, such as logs: of one node, and of all.
    node_answers_max: int = 16
    answers_max: int = 256

    history_revisions_max: int = 10_000
    """Compaction keeps so many revisions (as etcd's `--auto-compaction-mode revision`); 0: never compact."""
    compaction_interval_s: float = 60.0
