"""The gRPC service api.Nodes: nodes attach, and answer requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from grpc import aio

from rube.api import Lease, NodeReply, NodeReplyResponse, NodeRequest, NodeRequestsRequest, NodesServicer
from rube.api.errors import FailedPreconditionError, InvalidArgumentError, NotDoneError
from rube.api.keys import validate_name
from rube.controllers.cluster.types import node_lease_key
from rube.server.attachments import Attachments
from rube.server.objects import decode
from rube.server.rights.gate import Gate
from rube.store import Store

Context = aio.ServicerContext[Any, Any]


class NodesService(NodesServicer):
    """Errors leave as exceptions: the server's transport turns them into statuses."""

    def __init__(self, store: Store, attachments: Attachments, gate: Gate | None = None) -> None:
        self._gate = gate
        self._store = store
        self._attachments = attachments
        self._draining = False

    async def Requests(self, request: NodeRequestsRequest, context: Context) -> AsyncIterator[NodeRequest]:
        if self._draining:
            raise NotDoneError("this apiserver is stopping: attach again when it is back")
        validate_name("node", request.node)
        if self._gate is not None:
            self._gate.check_node(request, context)
        await self._check_owner(request)
        attachment = self._attachments.attach(request.node, request.instance_id)
        try:
            yield NodeRequest()
            while True:
                yield await attachment.next()
        finally:
            self._attachments.detach(attachment)

    async def Reply(self, request: NodeReply, context: Context) -> NodeReplyResponse:
        if self._gate is not None:
            self._gate.check_node(request, context)
        attachment = self._attachments.find(request.node)
        if request.WhichOneof("part") is None:
            raise InvalidArgumentError("a reply has a part: logs or end", field="part")
        if attachment is None or attachment.instance_id != request.instance_id:
            return NodeReplyResponse(stop=True)
        return NodeReplyResponse(stop=not await attachment.take(request))

    def drain(self) -> None:
        """Ends the open calls and all answers, and refuses new ones."""
        self._draining = True
        self._attachments.stop()

    async def _check_owner(self, request: NodeRequestsRequest) -> None:
        """Raises FailedPreconditionError unless the instance holds the lease of the node's name."""
        (record,), _, _ = await self._store.get((node_lease_key(request.node).to_bytes(),), min_revision=0)
        lease = Lease()
        if record is not None:
            decode(record).spec.Unpack(lease)
        if not request.instance_id or lease.holder != request.instance_id:
            raise FailedPreconditionError(
                f"instance {request.instance_id or '(none)'} does not hold the lease of node {request.node!r}, which "
                f"is {lease.holder or 'no instance'}'s: register first",
                node=request.node,
            )
