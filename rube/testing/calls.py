"""The calls of the API that a test makes, by one client that stays connected."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from rube.api import DeleteRequest, GetRequest, Key, ListRequest, Metadata, Object, PutRequest
from rube.api.errors import InvalidArgumentError, NotFoundError
from rube.api.keys import key_of, type_of
from rube.api.spelling import suggestion
from rube.api.types import Kind, Types, pack
from rube.api.well_known import NODE_LABEL, NODE_TYPE
from rube.client import Client, ClientConfig
from rube.testing.world import TestWorld

NAMESPACE = "default"
READY_S_MAX, READY_POLL_S = 5.0, 0.05
"""A test begins once the apiserver knows all nodes, or after so long."""
CLIENT = "test"
TypeName = str | type[Message]
"""A type's full name, its last part or a short name of it, or the class of its spec."""


class ObjectCalls:
    """Puts, gets, lists and deletes objects. Raises the errors of `rube.api.errors`."""

    def __init__(self, world: TestWorld) -> None:
        self._world = world
        self._client: Client | None = None

    def client(self) -> Client:
        """Returns the client, which is made on first use, inside of the world."""
        if self._client is None:
            # A cluster is to come back from what a test does to it: a call waits for that longer than a person would.
            config = ClientConfig(deadline_s=60.0, retries_max=100)
            ports = self._world.cluster.ports_of_client(CLIENT)
            self._client = Client(ports, self._world.cluster.targets, config)
        return self._client

    def object_of(
        self, spec: Message, name: str, namespace: str | None, node: str, labels: Iterable[tuple[str, str]]
    ) -> Object:
        """Returns the object to put: `spec` may be a whole one."""
        if isinstance(spec, Object):
            obj = Object()
            obj.CopyFrom(spec)
            return obj
        if not name:
            raise InvalidArgumentError(
                f"put: this {spec.DESCRIPTOR.full_name} has no name: put(spec, name=…)", field="name"
            )
        kind = self.kind(type(spec))
        obj = Object(metadata=Metadata(name=name, namespace=_namespace(kind, namespace)), spec=pack(spec))
        obj.metadata.labels.update(labels)
        if node:
            obj.metadata.labels[NODE_LABEL] = node
        return obj

    async def until_ready(self) -> None:
        """Returns once all members of a replicated store vote, and the apiserver knows all nodes or READY_S_MAX is
        over."""
        cluster = self._world.cluster
        await cluster.disasters.until_all_vote(cluster.ports_of_client(CLIENT))
        clock = self._world.world.observer.clock
        end_ns = clock.monotonic_ns() + round(READY_S_MAX * 1e9)
        while clock.monotonic_ns() < end_ns:
            known = {obj.metadata.name for obj in await self.list(NODE_TYPE, "", "")}
            if known.issuperset(cluster.nodes):
                return
            await clock.sleep(READY_POLL_S)

    async def put(self, objects: Iterable[Object]) -> list[Metadata]:
        answer = await self.client().put(PutRequest(objects=objects))
        return list(answer.metadata)

    async def get(self, wanted: TypeName, name: str, namespace: str | None) -> Object | None:
        try:
            return (await self.client().get(GetRequest(key=self.key(wanted, name, namespace)))).object
        except NotFoundError:
            return None

    async def list(self, wanted: TypeName, namespace: str, labels: str) -> list[Object]:
        request = ListRequest(type=self.kind(wanted).name, namespace=namespace, label_selector=labels)
        return list((await self.client().list_objects(request)).items)

    async def delete(self, wanted: TypeName, name: str, namespace: str | None) -> None:
        await self.client().delete(DeleteRequest(keys=[self.key(wanted, name, namespace)]))

    def key(self, wanted: TypeName, name: str, namespace: str | None) -> Key:
        kind = self.kind(wanted)
        return Key(type=kind.name, namespace=_namespace(kind, namespace), name=name)

    def kind(self, wanted: TypeName) -> Kind:
        """Returns the type. Raises InvalidArgumentError, with what was probably meant, if there is none."""
        types: Types = self._world.types
        word = wanted if isinstance(wanted, str) else wanted.DESCRIPTOR.full_name
        found = [kind for kind in types.kinds() if word == kind.name or word.lower() in kind.words()]
        exact = [kind for kind in found if kind.name == word]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            names = " and ".join(kind.name for kind in found)
            raise InvalidArgumentError(f"{word!r} may be {names}: write the full name", field="type")
        known = [word for kind in types.kinds() for word in (kind.name, kind.name.rpartition(".")[2])]
        raise InvalidArgumentError(
            f"{word!r} is no type of this cluster: name it in simulate(types=[…]); {suggestion(word, known)}",
            field="type",
        )

    def spec(self, obj: Object | None) -> Message:
        assert obj is not None, "there is no such object"
        return self._world.types.unpack(obj.spec)

    def status(self, obj: Object | None) -> Message:
        """Returns the status, which is empty before the first report."""
        assert obj is not None, "there is no such object"
        kind = self.kind(type_of(obj.spec))
        if kind.status is None:
            raise InvalidArgumentError(f"objects of type {kind.name} have no status")
        return self._world.types.unpack(obj.status) if obj.HasField("status") else kind.status()


def named(objects: Iterable[Object]) -> str:
    """Returns the objects' keys, for the diary of a test."""
    return ", ".join(str(key_of(obj)) for obj in objects)


def _namespace(kind: Kind, given: str | None) -> str:
    if given is not None:
        return given
    return NAMESPACE if kind.namespaced else ""
