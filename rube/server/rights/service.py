"""The gRPC service auth.Rights: tells callers who they are, and why something is allowed or not."""

from __future__ import annotations

from collections.abc import AsyncIterator

from rube.api import (
    AuditRequest,
    AuditResponse,
    ExplainRequest,
    ExplainResponse,
    RightsServicer,
    WhoAmIRequest,
    WhoAmIResponse,
)
from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.selectors import EVERYTHING
from rube.api.spelling import quoted, suggestion
from rube.api.unknown_fields import check_known
from rube.api.well_known import BINDING_TYPE, ROLE_TYPE
from rube.server.audit.log import AuditLog
from rube.server.audit.reading import read_lines
from rube.server.entrance.call import call_of
from rube.server.entrance.kinds import AUDITED_VERBS
from rube.server.known_types import KnownTypes
from rube.server.rights.gate import Gate
from rube.server.rights.grants import VERBS
from rube.server.rights.sight import denied
from rube.server.rights.subjects import Context, Subject


class RightsService(RightsServicer):
    """Errors leave as exceptions: the server's transport turns them into statuses. About itself a caller may always
    ask."""

    def __init__(self, gate: Gate | None, types: KnownTypes, audit: AuditLog | None) -> None:
        """No gate: rights are off. No log: nothing is logged."""
        self._audit = audit
        self._gate = gate
        self._types = types

    async def WhoAmI(self, request: WhoAmIRequest, context: Context) -> WhoAmIResponse:
        check_known(request)
        subject = call_of(context).identity.subject
        response = WhoAmIResponse(subject=subject.to_proto(), enforced=self._gate is not None)
        if self._gate is not None:
            for role, where, namespaces in self._gate.kept.now.roles_of(subject):
                inside = f" in {', '.join(sorted(namespaces))}" if namespaces else ""
                response.roles.append(f"{role}, by {where}{inside}")
        return response

    async def Explain(self, request: ExplainRequest, context: Context) -> ExplainResponse:
        check_known(request)
        caller = call_of(context).identity.subject
        asked = Subject.parse(request.subject, tuple(request.groups)) if request.subject else caller
        if request.verb not in VERBS:
            raise InvalidArgumentError(
                f"{quoted(request.verb)} is no verb; {suggestion(request.verb, VERBS)}", field="verb"
            )
        types = await self._types.require((request.type,))
        types.kind(request.type)
        if self._gate is None:
            return ExplainResponse(answer=ExplainResponse.ALLOWED, unenforced=True)
        policy = self._gate.kept.now
        if (asked.kind, asked.name) == (caller.kind, caller.name):
            asked = caller
        else:
            for name in (ROLE_TYPE, BINDING_TYPE):
                if not policy.covering(caller, "get", name, ObjectKey(name, "", ""), EVERYTHING):
                    raise denied(caller, "get", [ObjectKey(name, "", "")])
        return policy.explain(asked, request.verb, ObjectKey(request.type, request.namespace, request.name))

    async def Audit(self, request: AuditRequest, context: Context) -> AsyncIterator[AuditResponse]:
        check_known(request)
        if self._gate is not None:
            self._gate.check_audit(context)
        if self._audit is None:
            raise FailedPreconditionError("this apiserver keeps no audit log: start it with --audit FILE")
        for name in request.verbs:
            if name not in AUDITED_VERBS:
                raise InvalidArgumentError(
                    f"{quoted(name)} is no verb; {suggestion(name, AUDITED_VERBS)}", field="verbs"
                )
        async for response in read_lines(self._audit, request):
            if self._gate is not None:
                self._gate.check_audit(context)  # the right may have been taken away
            yield response
