"""The kinds of calls: each has turns of its own, so that a flood of one does not slow another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from rube.api import (
    AuditRequest,
    CertificateRequest,
    ExplainRequest,
    GetRequest,
    HistoryRequest,
    ListRequest,
    NodeReply,
    NodeRequestsRequest,
    RenewalRequest,
    RenewLeaseRequest,
    WatchRequest,
    WhoAmIRequest,
)
from rube.api.keys import ObjectKey
from rube.api.well_known import NODE_TYPE, TOKEN_TYPE
from rube.server.rights.asked import ASKED


class CallKind(Enum):
    """A kind of calls. The first has precedence: its calls never wait."""

    UPKEEP = "upkeep"
    """Heartbeats, and what nodes, controllers and members write."""
    WRITES = "writes"
    GETS = "gets"
    LISTS = "lists"
    """Lists and histories, and the initial objects of watches."""
    JOINS = "joins"
    """Requests for certificates, from callers that have none."""
    STREAMS = "streams"
    """Watches, logs and followed audit logs, while they run."""


class Manner(NamedTuple):
    """A verb, its objects, and the kind of its calls."""

    verb: str
    keys_of: Callable[[Any], Sequence[ObjectKey]]
    kind: CallKind
    is_audited: bool = False
    """Also where reads are not."""
    is_open: bool = False
    """Callers without any identity make such calls."""


def _selected(request: ListRequest | WatchRequest) -> Sequence[ObjectKey]:
    return (ObjectKey(request.type, request.namespace, request.name),)


def _node(request: NodeRequestsRequest | NodeReply) -> Sequence[ObjectKey]:
    return (ObjectKey(NODE_TYPE, "", request.node),)


def _token(request: CertificateRequest) -> Sequence[ObjectKey]:
    return (ObjectKey(TOKEN_TYPE, "", request.token),)


def _none(_: Any) -> Sequence[ObjectKey]:
    return ()


def _named(request: type[Message]) -> Manner:
    asked = ASKED[request]
    if request in (GetRequest, HistoryRequest):
        kind = CallKind.GETS if request is GetRequest else CallKind.LISTS
    elif not asked.writes:
        kind = CallKind.STREAMS
    else:
        kind = CallKind.UPKEEP if request is RenewLeaseRequest else CallKind.WRITES
    return Manner(asked.verb, asked.keys_of, kind, asked.writes and request is not RenewLeaseRequest)


MANNERS: Final[Mapping[type[Message], Manner]] = {
    **{request: _named(request) for request in ASKED},
    ListRequest: Manner("list", _selected, CallKind.LISTS),
    WatchRequest: Manner("watch", _selected, CallKind.STREAMS),
    NodeRequestsRequest: Manner("attach", _node, CallKind.UPKEEP),
    NodeReply: Manner("answer", _node, CallKind.UPKEEP),
    WhoAmIRequest: Manner("whoami", _none, CallKind.GETS),
    ExplainRequest: Manner("explain", _none, CallKind.GETS),
    AuditRequest: Manner("audit", _none, CallKind.STREAMS, is_audited=True),
    CertificateRequest: Manner("join", _token, CallKind.JOINS, is_audited=True, is_open=True),
    RenewalRequest: Manner("renew_certificate", _none, CallKind.JOINS, is_audited=True, is_open=True),
}
"""Every request of every service."""
AUDITED_VERBS: Final = tuple(dict.fromkeys(manner.verb for manner in MANNERS.values()))
"""The verbs of an audit log."""
