"""The node's own objects: api.Node with its status, and the lease that the rubelet renews while it lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from rube.api import GetRequest, Lease, Node, NodeStatus, Object, PutRequest, RenewLeaseRequest, UpdateStatusRequest
from rube.api.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    RubeError,
    UnimplementedError,
)
from rube.api.keys import ObjectKey
from rube.api.times import NS_PER_S
from rube.api.types import pack
from rube.client import Client, FailureLog
from rube.controllers.cluster.types import node_key, node_lease_key
from rube.host import Host
from rube.rubelet.config import RubeletConfig

_LOG = logging.getLogger("rube.rubelet")


class Registration:
    """The owner of the node's name in the cluster. The name belongs to one data directory as long as that renews its
    lease."""

    def __init__(
        self,
        client: Client,
        host: Host,
        config: RubeletConfig,
        instance_id: str,
        drivers: Sequence[str],
        problems: Callable[[], list[str]],
    ) -> None:
        """`problems` returns the present problems for the node's status."""
        self._client = client
        self._clock = host.clock
        self._config = config
        self._instance_id = instance_id
        self._drivers = ",".join(drivers)
        self._problems = problems
        self._node = node_key(config.node)
        self._lease = node_lease_key(config.node)
        self._failures = FailureLog(_LOG, f"lease of node {config.node}")
        self._problems_failures = FailureLog(_LOG, f"problems of node {config.node}")
        self._session = host.random.uid()
        self._renewed = False  # in this session
        self._renew_time_ns = 0
        # The revision of the Node object that this rubelet has looked at, and what it said there; 0: look at all.
        self._node_revision = 0
        self._told: list[str] = []
        # Another rubelet's lease as it was last seen to change, on the monotonic clock.
        self._seen_revision = 0
        self._seen_ns = 0

    async def run(self, registered: asyncio.Event) -> None:
        """Renews the lease until cancelled, and keeps Node and NodeStatus as they should be; sets `registered` once
        they are.

        Raises AlreadyExistsError if another living rubelet has the name, InvalidArgumentError if the apiserver refuses
        the objects permanently.
        """
        while True:
            try:
                if not await self._renew_only():
                    await self._renew()
                self._failures.works()
                registered.set()
                delay_s = self._config.renew_s
            except (AlreadyExistsError, InvalidArgumentError, UnimplementedError):
                raise
            except _OthersLease as other:
                self._failures.failed(f"another rubelet may hold it: {other}", then="waiting", level=logging.INFO)
                delay_s = self._config.retry_s
            except RubeError as error:
                self._failures.failed(error.message)
                delay_s = self._config.retry_s
            await self._clock.sleep(delay_s)

    async def _renew_only(self) -> bool:
        """Renews a lease that this rubelet holds, in one call. Returns False where there is more to do: register, or
        look at the Node object, which has changed. A server that is away does not make it more."""
        if not self._node_revision or self._problems() != self._told:
            return False
        request = RenewLeaseRequest(
            namespace=self._lease.namespace,
            name=self._lease.name,
            holder=self._instance_id,
            session=self._session,
            related=self._node.to_proto(),
        )
        request.renew_time.FromNanoseconds(self._next_time_ns())
        try:
            response = await self._client.renew_lease(request)
        except (FailedPreconditionError, UnimplementedError):
            return False  # it is another's now, or the server is an older one
        return response.related_revision == self._node_revision

    def _next_time_ns(self) -> int:
        """Returns a later time for each renewal of this session, also when the clock is set back: a renewal with an
        earlier one counts as a late repetition of an older."""
        self._renew_time_ns = max(self._clock.now_ns(), self._renew_time_ns + 1)
        return self._renew_time_ns

    async def _renew(self) -> None:
        self._node_revision = 0
        lease_obj = await self._get(self._lease)
        lease = Lease()
        if lease_obj is not None:
            lease_obj.spec.Unpack(lease)
            if lease.holder not in ("", self._instance_id):
                self._check_lapsed(lease, lease_obj.metadata.revision)
            elif self._renewed and lease.session not in ("", self._session):
                raise AlreadyExistsError(
                    f"another rubelet renews the lease of node {self._config.node!r} with this one's identity "
                    f"({self._instance_id}): it runs on a copy of this data directory, so that both run what is "
                    "bound to the node. Stop one of them; start a copy that is to be a node of its own with "
                    "--new-identity and another --node",
                    node=self._config.node,
                )
        # The lease first: two rubelets of one name contend for it.
        await self._write_lease(lease, lease_obj)
        self._renewed = True
        node = await self._register()
        revision = await self._update_status(node)
        self._node_revision = await self._tell_problems(node, revision)

    def _check_lapsed(self, lease: Lease, revision: int) -> None:
        """Returns if the other's lease has not changed for its duration, by this machine's clock."""
        now_ns = self._clock.monotonic_ns()
        if revision != self._seen_revision:
            first_look = self._seen_revision == 0
            self._seen_revision, self._seen_ns = revision, now_ns
            if not first_look:
                raise AlreadyExistsError(
                    f"node name {self._config.node!r} is in use by another rubelet (instance {lease.holder}), which "
                    "is alive: give this one another --node, or stop the other",
                    node=self._config.node,
                )
        if now_ns - self._seen_ns < lease.duration.ToNanoseconds():
            raise _OthersLease(f"its lease lapses after {lease.duration.ToNanoseconds() / NS_PER_S:g} s of silence")

    async def _register(self) -> Object:
        """Returns the Node object, created or taken over if needed. Fields that the user has set stay."""
        obj = await self._get(self._node)
        node = Node()
        if obj is not None:
            obj.spec.Unpack(node)
            if node.instance_id == self._instance_id:
                return obj
        wanted = Object()
        if obj is not None:
            wanted.metadata.CopyFrom(obj.metadata)
        wanted.metadata.name = self._config.node
        node.instance_id = self._instance_id
        wanted.spec.CopyFrom(pack(node))
        await self._put(self._node, wanted, obj)
        _LOG.info("registered node %s as instance %s", self._config.node, self._instance_id)
        registered = await self._get(self._node)
        if registered is None:
            raise AbortedError(f"node {self._config.node!r} was deleted while it registered: trying again")
        return registered

    async def _write_lease(self, lease: Lease, current: Object | None) -> None:
        renewed = Lease(holder=self._instance_id, term=lease.term, session=self._session)
        renewed.duration.FromNanoseconds(round(self._config.lease_s * NS_PER_S))
        renewed.renew_time.FromNanoseconds(self._next_time_ns())
        renewed.acquire_time.CopyFrom(lease.acquire_time)
        if lease.holder != self._instance_id:
            renewed.term += 1
            renewed.acquire_time.CopyFrom(renewed.renew_time)
        obj = Object(spec=pack(renewed))
        obj.metadata.namespace, obj.metadata.name = self._lease.namespace, self._lease.name
        await self._put(self._lease, obj, current)

    async def _update_status(self, node: Object) -> int:
        """Writes the rubelet's part of the status if it has changed; the node-health controller writes the readiness.
        Returns the object's revision."""
        stored = NodeStatus()
        node.status.Unpack(stored)
        config = self._config
        status = NodeStatus(
            boot_id=config.boot_id,
            rubelet_version=config.version,
            driver=self._drivers,
            observed_generation=node.metadata.generation,
        )
        paths = ("boot_id", "rubelet_version", "driver", "observed_generation")
        if any(getattr(stored, path) != getattr(status, path) for path in paths):
            return await self._write_status(node, status, paths)
        return node.metadata.revision

    async def _tell_problems(self, node: Object, revision: int) -> int:
        """Reports problems in a call of their own: an older apiserver refuses a field that it does not know. Returns
        the object's revision."""
        stored = NodeStatus()
        node.status.Unpack(stored)
        self._told = self._problems()
        if list(stored.problems) == self._told:
            return revision
        try:
            revision = await self._write_status(node, NodeStatus(problems=self._told), ("problems",))
            self._problems_failures.works()
        except InvalidArgumentError as error:
            self._problems_failures.failed(f"this apiserver refuses them: {error.message}")
        return revision

    async def _write_status(self, node: Object, status: NodeStatus, paths: Sequence[str]) -> int:
        """Returns the object's new revision."""
        request = UpdateStatusRequest(key=self._node.to_proto(), uid=node.metadata.uid, status=pack(status))
        request.keep_unknown_fields = True
        request.update_mask.paths.extend(paths)
        return (await self._client.update_status(request)).metadata.revision

    async def _put(self, key: ObjectKey, obj: Object, current: Object | None) -> None:
        request = PutRequest(objects=[obj], keep_unknown_fields=True)
        revision = 0 if current is None else current.metadata.revision
        request.preconditions.add(key=key.to_proto(), revision=revision, absent=current is None)
        await self._client.put(request)

    async def _get(self, key: ObjectKey) -> Object | None:
        try:
            return (await self._client.get(GetRequest(key=key.to_proto()))).object
        except NotFoundError:
            return None


class _OthersLease(Exception):
    """Another rubelet's lease has not lapsed yet."""
