"""The one way in: every call of every service passes here before anything is read or written for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from google.protobuf.message import Message

from rube.api import (
    GetRequest,
    LogsRequest,
    NodeReply,
    NodeRequestsRequest,
    PutRequest,
    RenewLeaseRequest,
    WatchRequest,
)
from rube.api.errors import CompactedError, PermissionDeniedError, RubeError, UnauthenticatedError
from rube.api.keys import ObjectKey
from rube.api.selectors import EVERYTHING
from rube.api.types import Types
from rube.api.well_known import (
    BINDING_TYPE,
    EVENT_TYPE,
    EVERY_TYPE,
    LEADER_NAMESPACE,
    LEASE_TYPE,
    NODE_LABEL,
    ROLE_TYPE,
)
from rube.server.backend import Backend
from rube.server.entrance.call import Call, call_of
from rube.server.filters import ObjectFilter
from rube.server.history import last_of, read_at
from rube.server.rights.asked import ASKED, Asked, preconditions_of
from rube.server.rights.gated_writer import Caller, GatedWriter
from rube.server.rights.grants import AUDIT_VERB
from rube.server.rights.kept import KeptPolicy
from rube.server.rights.node_events import EventWriter, NodeEvents, about_of
from rube.server.rights.policy import Policy
from rube.server.rights.sight import Sight, denied
from rube.server.rights.subjects import ANONYMOUS, Context, Subject
from rube.server.stored_object import decode_object, labels_of
from rube.store import Store

OWN_EVENTS: Final = "the rights of every node to events about its objects"
_RIGHTS: Final = (ROLE_TYPE, BINDING_TYPE)


class Gate:
    """The gate of one server."""

    def __init__(self, kept: KeptPolicy, store: Store, types: Callable[[], Types]) -> None:
        self._store = store
        self._types = types
        self.kept = kept

    def subject_of(self, context: Context) -> Subject:
        """Returns the caller of a call, which the entrance has made of its context (`rube.server.entrance`)."""
        return call_of(context).identity.subject

    async def enter(self, backend: Backend, request: Message, context: Context) -> Backend:
        """Returns what carries out a request that names its objects: the backend itself if the caller may do it
        whatever the objects are, and otherwise one that looks at each.

        Raises PermissionDeniedError that names every refused object, UnauthenticatedError.
        """
        call = call_of(context)
        subject, policy = call.identity.subject, self.kept.now
        asked = ASKED[type(request)]
        keys = asked.keys_of(request)
        events = await self._own_events(policy, subject, request, keys) if subject.kind == "node" else None
        limited = events is None and self._check(policy, subject, asked.verb, keys, call)
        if asked.writes:
            limited |= self._check_beside(policy, subject, request, keys, asked)
            for key in keys:
                limited |= key.type in _RIGHTS
        if limited and isinstance(request, RenewLeaseRequest):  # renewals are written together, without a look at each
            self._check_plain(policy, subject, request, keys)
            limited = False
        if events is not None:
            call.rules[OWN_EVENTS] = None
            return self._for_events(backend, events, _beside(request, keys) if limited else ())
        repeatable = getattr(request, "request_id", "")
        if not limited and not repeatable:
            return backend
        if not limited:
            return replace(backend, caller=str(subject))
        if asked.writes:
            caller = Caller(subject, asked.verb, policy, self._types, call.note_grant)
            writer = GatedWriter(backend.writer, self.kept, caller)
            return replace(backend, caller=str(subject), writer=writer)
        return replace(backend, sight=Sight(policy, subject, asked.verb, self._types, call.note_grant))

    def sight(self, wanted: ObjectFilter, verb: str, call: Call) -> Sight | None:
        """Returns the sight that a list or a watch needs; None: the caller may see everything that it asks for.

        Raises PermissionDeniedError if it can see none of it, UnauthenticatedError.
        """
        subject, policy = call.identity.subject, self.kept.now
        place = ObjectKey(wanted.type, wanted.namespace, wanted.name)
        covering = policy.covering(subject, verb, wanted.type, place, wanted.selector)
        if covering is not None:
            call.note_grant(covering)
            return None
        access = policy.access(subject, verb, wanted.type)
        if not access.reaches(wanted.namespace, wanted.name):
            raise self._refusal(policy, subject, verb, [place])
        for grant in access.possible(wanted.namespace, wanted.name) if wanted.namespace else access.grants:
            call.note_grant(grant)
        return Sight(policy, subject, verb, self._types)

    def sees_all(self, wanted: ObjectFilter, verb: str, subject: Subject) -> bool:
        """Returns whether the caller may see everything that it asks for."""
        place = ObjectKey(wanted.type, wanted.namespace, wanted.name)
        return self.kept.now.covering(subject, verb, wanted.type, place, wanted.selector) is not None

    def check_resume(self, request: WatchRequest, subject: Subject, sight: Sight | None) -> None:
        """Raises CompactedError where a watch would go on from a revision at which, as far as this server knows, its
        caller may have seen other objects: it has to list."""
        after, since = request.after_revision, self.kept.since
        if after and not request.send_initial and after < since and sight is not None:
            raise CompactedError(
                f"the roles and bindings may have changed after revision {after}, and with them what {subject} may "
                "see: list again",
                oldest_revision=since,
            )

    def check_audit(self, context: Context) -> None:
        """Raises the errors of `enter` unless the caller may read the audit log: all of it, since its lines are about
        everything."""
        call = call_of(context)
        subject, policy = call.identity.subject, self.kept.now
        place = ObjectKey(EVERY_TYPE, "", "")
        covering = policy.covering(subject, AUDIT_VERB, EVERY_TYPE, place, EVERYTHING)
        if covering is None:
            raise self._refusal(policy, subject, AUDIT_VERB, [place])
        call.note_grant(covering)

    async def check_logs(self, backend: Backend, request: LogsRequest, context: Context) -> bool:
        """Returns whether it depends on the unit. Raises the errors of `enter` for the logs of a unit."""
        key = ObjectKey.from_proto(request.key)
        entered = await self.enter(backend, request, context)
        if entered.sight is not None:
            (record,) = (await self._store.get([key.to_bytes()])).records
            entered.sight.check(key, record)
        return entered.sight is not None

    def narrowing(self, verb: str, context: Context) -> Callable[[ObjectFilter], ObjectFilter]:
        """Returns a function that gives a filter the caller's sight, and raises the errors of `sight`."""
        call = call_of(context)

        def narrow(wanted: ObjectFilter) -> ObjectFilter:
            sight = self.sight(wanted, verb, call)
            return wanted if sight is None else replace(wanted, sight=sight)

        return narrow

    def check_node(self, request: NodeRequestsRequest | NodeReply, context: Context) -> None:
        """Raises PermissionDeniedError unless the caller is the node that it speaks for, or an administrator."""
        subject, policy = self.subject_of(context), self.kept.now
        if (subject.kind, subject.name) == ("node", request.node) or policy.manages_rights(subject):
            return
        self._check_known(policy, subject)
        raise PermissionDeniedError(
            f"{subject} may not answer for node {request.node!r}: use the certificate of that node",
            subject=str(subject),
            verb="answer",
            type="api.Node",
        )

    def _check(
        self, policy: Policy, subject: Subject, verb: str, keys: Sequence[ObjectKey], call: Call | None = None
    ) -> bool:
        """Returns whether it depends on the objects, and notes the rules for the call. Raises the errors of
        `enter`."""
        limited = False
        refused = []
        for key in keys:
            access = policy.access(subject, verb, key.type)
            if (grant := access.plain(key.namespace, key.name)) is not None:
                if call is not None:
                    call.note_grant(grant)
            else:
                limited = True
                if not access.possible(key.namespace, key.name):
                    refused.append(key)
        if refused or not keys:
            self._check_known(policy, subject)
        if refused:
            raise denied(subject, verb, refused)
        return limited

    def _check_beside(
        self, policy: Policy, subject: Subject, request: Any, keys: Sequence[ObjectKey], asked: Asked
    ) -> bool:
        """Does the same for what a write shows, or changes, beside its objects: those of its preconditions, and the
        term of its fence, which only a caller that can hold the lease of that name may use."""
        limited = self._check(policy, subject, "get", beside) if (beside := _beside(request, keys)) else False
        if asked.fenced and request.HasField("fence"):
            lease = ObjectKey(LEASE_TYPE, LEADER_NAMESPACE, request.fence.group)
            if policy.access(subject, "put", LEASE_TYPE).plain(lease.namespace, lease.name) is None:
                raise denied(subject, "put", [lease])
        return limited

    def _check_plain(self, policy: Policy, subject: Subject, request: Message, keys: Sequence[ObjectKey]) -> None:
        """Raises PermissionDeniedError for a renewal that rules allow for some leases alone, by labels or a condition,
        and for a related object that the caller may perhaps not get."""
        for verb, wanted in (("renew", keys), ("get", _beside(request, keys))):
            for key in wanted:
                if policy.access(subject, verb, key.type).plain(key.namespace, key.name) is None:
                    raise denied(subject, verb, [key])

    async def _own_events(
        self, policy: Policy, subject: Subject, request: Message, keys: Sequence[ObjectKey]
    ) -> NodeEvents | None:
        """Returns the events that a node may get or put since they are about what is bound to it; None: for this
        request it needs a rule that allows it."""
        if not isinstance(request, GetRequest | PutRequest) or any(key.type != EVENT_TYPE for key in keys):
            return None
        revision = request.revision if isinstance(request, GetRequest) else 0
        stored = [page.records for page in [await read_at(self._store, key.to_bytes(), revision) for key in keys]]
        found = [about_of(decode_object(record).spec_any()) for (record,) in filter(None, stored)]
        if isinstance(request, PutRequest):
            found += [about_of(each.spec) for each in request.objects]
        about = frozenset(found)
        if not about:
            return None
        for key in about:
            if key is None or not await self._is_bound(key, subject.name):
                return None
        return NodeEvents(policy, subject, ASKED[type(request)].verb, self._types, about)

    def _for_events(self, backend: Backend, events: NodeEvents, unseen: Sequence[ObjectKey]) -> Backend:
        """Returns what carries out a node's request for its events. Raises PermissionDeniedError for preconditions on
        what it may perhaps not get."""
        if unseen:
            raise denied(events.subject, "get", list(unseen))
        return replace(backend, caller=str(events.subject), sight=events, writer=EventWriter(backend.writer, events))

    async def _is_bound(self, key: ObjectKey, node: str) -> bool:
        """Returns whether an object is bound to a node, or was before it went."""
        if self._types().get(key.type) is None:
            return False
        (record,) = (await self._store.get([key.to_bytes()])).records
        if record is None:
            record = await last_of(self._store, key.to_bytes())
        return record is not None and labels_of(record).get(NODE_LABEL) == node

    def _refusal(self, policy: Policy, subject: Subject, verb: str, keys: list[ObjectKey]) -> RubeError:
        self._check_known(policy, subject)
        return denied(subject, verb, keys)

    def _check_known(self, policy: Policy, subject: Subject) -> None:
        """Raises UnauthenticatedError for a caller without an identity."""
        if subject.kind == ANONYMOUS:
            raise UnauthenticatedError(
                "the connection shows no identity, and without one nothing more is allowed here: use a "
                "certificate, or a binding that allows it to 'anonymous'"
            )


def _beside(request: Any, keys: Sequence[ObjectKey]) -> list[ObjectKey]:
    return [key for key in preconditions_of(request) if key not in keys]
