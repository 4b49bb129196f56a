"""An apiserver with rights in a simulated world, and calls of several callers to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from rube.api import (
    ApiStub,
    ApplyRequest,
    AuditRequest,
    Binding,
    CoreEvent,
    DeleteRequest,
    GetRequest,
    HistoryRequest,
    Key,
    Lease,
    ListRequest,
    LogsRequest,
    Metadata,
    Namespace,
    Node,
    NodeStatus,
    Object,
    PatchRequest,
    PutRequest,
    RenewLeaseRequest,
    RightsStub,
    Role,
    Rule,
    Unit,
    UnitStatus,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
    WatchRequest,
)
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.server.rights.subjects import Context, RightsConfig, Subject
from tests.conformance.api.api_sites import Served, SimSite, serve

UNIT, NODE, LEASE, EVENT = "api.systemd.Unit", "api.Node", "api.Lease", "core.Event"
NAMESPACE, ROLE, BINDING = "core.Namespace", "auth.Role", "auth.Binding"
SPECS: dict[str, Message] = {
    UNIT: Unit(description="secret"),
    NODE: Node(instance_id="secret"),
    LEASE: Lease(holder="secret"),
    EVENT: CoreEvent(
        regarding=Key(type=UNIT, namespace="system", name="other"),
        reason="Started",
        controller="units",
        message="secret",
        count=1,
    ),
    NAMESPACE: Namespace(),
    ROLE: Role(rules=[Rule(verbs=["get"], types=["*"], names=["secret"])]),
    BINDING: Binding(subjects=["user/secret"], role="read-only"),
}
NO_LABELS: Mapping[str, str] = {}
STATUSES: dict[str, Message] = {UNIT: UnitStatus(active_state="active"), NODE: NodeStatus(boot_id="b")}
SPECS[EVENT].first_time.seconds = SPECS[EVENT].last_time.seconds = 1  # type: ignore[attr-defined]


def identify(context: Context) -> Subject:
    """Returns the caller that the call names: what a certificate proves elsewhere."""
    found = dict(context.invocation_metadata() or ())
    groups = tuple(filter(None, str(found.get("x-groups", "")).split(",")))
    return Subject.parse(str(found.get("x-subject", "anonymous")), groups)


def obj(key: ObjectKey, labels: Mapping[str, str] = NO_LABELS) -> Object:
    made = Object(metadata=Metadata(namespace=key.namespace, name=key.name), spec=pack(SPECS[key.type]))
    made.metadata.labels.update(labels)
    return made


class Caller:
    """One caller's calls: each returns its response, or the name of the status code that it ended with."""

    def __init__(self, channel: Any, subject: str, groups: str = "") -> None:
        self.channel = channel
        self.api: Any = ApiStub(channel)
        self.rights: Any = RightsStub(channel)
        self.metadata = (("x-subject", subject), ("x-groups", groups))
        self.heard: list[bytes] = []
        """All bytes of responses, and texts of errors."""

    async def ask(self, method: Any, request: Message) -> Any:
        try:
            response = await method(request, metadata=self.metadata)
        except grpc.aio.AioRpcError as error:
            self.heard.append((error.details() or "").encode())
            return error.code().name
        self.heard.append(response.SerializeToString())
        return response

    async def first(self, method: Any, request: Message) -> Any:
        """Returns the first response of a stream."""
        call = method(request, metadata=self.metadata)
        try:
            response = await call.read()
        except grpc.aio.AioRpcError as error:
            self.heard.append((error.details() or "").encode())
            return error.code().name
        finally:
            call.cancel()
        self.heard.append(response.SerializeToString())
        return response

    async def do(self, verb: str, key: ObjectKey, labels: Mapping[str, str] = NO_LABELS, *, dry: bool = True) -> Any:
        """Asks for a verb on one object; a write is not carried out if `dry`."""
        named, api, given = key.to_proto(), self.api, obj(key, labels)
        match verb:
            case "get":
                return await self.ask(api.Get, GetRequest(key=named))
            case "list":
                return await self.ask(api.List, ListRequest(type=key.type, namespace=key.namespace, name=key.name))
            case "watch":
                request = WatchRequest(type=key.type, namespace=key.namespace, name=key.name, send_initial=True)
                return await self.first(api.Watch, request)
            case "history":
                return await self.ask(api.History, HistoryRequest(key=named))
            case "logs":
                return await self.first(api.Logs, LogsRequest(key=named))
            case "put":
                return await self.ask(api.Put, PutRequest(objects=[given], validate_only=dry))
            case "apply":
                return await self.ask(
                    api.Apply, ApplyRequest(objects=[given], owner="me", force=True, validate_only=dry)
                )
            case "patch":
                given.metadata.annotations["note"] = "x"
                return await self.ask(
                    api.Patch,
                    PatchRequest(
                        object=given, update_mask=FieldMask(paths=["metadata.annotations"]), validate_only=dry
                    ),
                )
            case "delete":
                return await self.ask(api.Delete, DeleteRequest(keys=[named], validate_only=dry))
            case "update_status":
                status = pack(STATUSES[key.type])
                return await self.ask(
                    api.UpdateStatus, UpdateStatusRequest(key=named, status=status, validate_only=dry)
                )
            case "update_lifecycle":
                life = UpdateLifecycleRequest(key=named, add_finalizers=["a.b/c"], validate_only=dry)
                return await self.ask(api.UpdateLifecycle, life)
            case "renew":
                renewal = RenewLeaseRequest(namespace=key.namespace, name=key.name, holder="x", session="y")
                renewal.renew_time.seconds = 1
                return await self.ask(api.RenewLease, renewal)
            case "audit":
                return await self.first(self.rights.Audit, AuditRequest())
        raise AssertionError(verb)


class Cluster:
    """A served API with rights; the caller `root` is an administrator."""

    def __init__(self, served: Served, channel: Any) -> None:
        self.served = served
        self._channel = channel
        self.root = self.caller("user/root", "admins")

    def caller(self, subject: str, groups: str = "") -> Caller:
        return Caller(self._channel, subject, groups)

    async def put(self, *objects: Object) -> Any:
        response = await self.root.ask(self.root.api.Put, PutRequest(objects=objects))
        assert not isinstance(response, str), self.root.heard[-1]
        return response

    async def bind(
        self, name: str, subject: str, *rules: Rule, role: str = "", namespaces: tuple[str, ...] = ()
    ) -> Any:
        """Gives a caller a role, of these rules or one that there is."""
        objects = [] if role else [Object(metadata=Metadata(name=name), spec=pack(Role(rules=rules)))]
        binding = Binding(subjects=[subject], role=role or name, namespaces=namespaces)
        return await self.put(*objects, Object(metadata=Metadata(name=name), spec=pack(binding)))


@asynccontextmanager
async def cluster(site: SimSite, **config: Any) -> AsyncIterator[Cluster]:
    async with serve(site, rights=RightsConfig(identify=identify), **config) as served:
        async with site.host.network.channel(served.address) as channel:
            yield Cluster(served, channel)
