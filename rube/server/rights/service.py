"""The gRPC service auth.Rights: tells callers who they are, and why something is allowed or not."""

from __future__ import annotations

from rube.api import (
    ExplainRequest,
    ExplainResponse,
    RightsServicer,
    WhoAmIRequest,
    WhoAmIResponse,
)
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.selectors import EVERYTHING
from rube.api.spelling import quoted, suggestion
from rube.api.unknown_fields import check_known
from rube.api.well_known import BINDING_TYPE, ROLE_TYPE
from rube.server.known_types import KnownTypes
from rube.server.rights.gate import Gate
from rube.server.rights.grants import VERBS
from rube.server.rights.sight import denied
from rube.server.rights.subjects import Context, RightsConfig, Subject


class RightsService(RightsServicer):
    """Errors leave as exceptions: the server's transport turns them into statuses. About itself a caller may always
    ask."""

    def __init__(self, config: RightsConfig, gate: Gate | None, types: KnownTypes) -> None:
        """No gate: rights are off."""
        self._config = config
        self._gate = gate
        self._types = types

    async def WhoAmI(self, request: WhoAmIRequest, context: Context) -> WhoAmIResponse:
        check_known(request)
        subject = self._config.subject_of(context)
        response = WhoAmIResponse(subject=subject.to_proto(), enforced=self._gate is not None)
        if self._gate is not None:
            for role, where, namespaces in self._gate.kept.now.roles_of(subject):
                inside = f" in {', '.join(sorted(namespaces))}" if namespaces else ""
                response.roles.append(f"{role}, by {where}{inside}")
        return response

    async def Explain(self, request: ExplainRequest, context: Context) -> ExplainResponse:
        check_known(request)
        caller = self._config.subject_of(context)
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
                if not policy.covers(caller, "get", name, ObjectKey(name, "", ""), EVERYTHING):
                    raise denied(caller, "get", [ObjectKey(name, "", "")])
        return policy.explain(asked, request.verb, ObjectKey(request.type, request.namespace, request.name))
