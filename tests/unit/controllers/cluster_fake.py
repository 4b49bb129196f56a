"""A cluster in memory: the server's objects, and a cache that lags behind them as far as a test wants."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence, Set

from google.protobuf.any_pb2 import Any

from rube.api import (
    ApplyRequest,
    ApplyResponse,
    Decision,
    DeleteRequest,
    DeleteResponse,
    GetRequest,
    GetResponse,
    Key,
    Object,
    PatchRequest,
    PatchResponse,
    Precondition,
    PutRequest,
    PutResponse,
    Unit,
    UpdateStatusRequest,
    UpdateStatusResponse,
)
from rube.api.errors import AbortedError, NotFoundError, RubeError, UnavailableError
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey, key_of
from rube.client import Change
from rube.controllers.contract import Relation
from rube.controllers.key_index import KeysByValue, relations_of
from rube.controllers.label_index import LabelIndex
from rube.controllers.ports import Listener, Position

STORE = "store-1"
UNIT = "api.systemd.Unit"


class FakeCluster:
    """`Calls` on a dict. With `live`, each write shows in the cache at once; otherwise when `publish` is called."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, Object] = {}
        self.revision = 0
        self.live = True
        self.cache = FakeCache()
        self.calls: list[str] = []
        # The request of each apply and patch.
        self.owners: list[str] = []
        # Raised by the next calls, one each, instead of doing anything.
        self.errors: list[RubeError] = []

    async def get(self, request: GetRequest) -> GetResponse:
        self._arrived("get", [])
        obj = self.objects.get(ObjectKey.from_proto(request.key))
        if obj is None:
            raise NotFoundError(f"{request.key.name} does not exist")
        return GetResponse(object=obj, revision=self.revision, store_id=STORE)

    async def put(self, request: PutRequest) -> PutResponse:
        self._arrived("put", request.preconditions)
        self.revision += 1
        for obj in request.objects:
            self.store(obj)
        metadata = [self.objects[key_of(obj)].metadata for obj in request.objects]
        return PutResponse(metadata=metadata, revision=self.revision, store_id=STORE)

    async def apply(self, request: ApplyRequest) -> ApplyResponse:
        """Puts the objects as they are."""
        self._arrived("apply", request.preconditions)
        self.owners.append(request.owner)
        self.revision += 1
        for obj in request.objects:
            self.store(obj)
        metadata = [self.objects[key_of(obj)].metadata for obj in request.objects]
        return ApplyResponse(metadata=metadata, revision=self.revision, store_id=STORE)

    async def patch(self, request: PatchRequest) -> PatchResponse:
        """Puts the object as it is, whatever the mask."""
        self._arrived("patch", request.preconditions)
        self.owners.append(request.owner)
        self.revision += 1
        self.store(request.object)
        return PatchResponse(object=self.objects[key_of(request.object)], revision=self.revision, store_id=STORE)

    async def delete(self, request: DeleteRequest) -> DeleteResponse:
        self._arrived("delete", request.preconditions)
        self.revision += 1
        for key in request.keys:
            if self.objects.pop(ObjectKey.from_proto(key), None) is None:
                raise NotFoundError(f"{key} does not exist")
        self._written()
        return DeleteResponse(revision=self.revision, store_id=STORE)

    async def update_status(self, request: UpdateStatusRequest) -> UpdateStatusResponse:
        self._arrived("update_status", [request.precondition] if request.HasField("precondition") else [])
        obj = self.objects.get(ObjectKey.from_proto(request.key))
        if obj is None:
            raise NotFoundError(f"{request.key.name} does not exist")
        if request.uid and request.uid != obj.metadata.uid:
            raise AbortedError("another uid")
        self.revision += 1
        obj.status.CopyFrom(request.status)
        obj.metadata.revision = self.revision
        self._written()
        return UpdateStatusResponse(metadata=obj.metadata, revision=self.revision, store_id=STORE)

    def add(self, obj: Object) -> Object:
        """The object that a user would put."""
        self.revision += 1
        self.store(obj)
        return self.objects[key_of(obj)]

    def remove(self, key: ObjectKey) -> None:
        self.revision += 1
        del self.objects[key]
        self._written()

    def store(self, obj: Object) -> None:
        before = self.objects.get(key_of(obj))
        stored = Object()
        stored.CopyFrom(obj)
        stored.metadata.revision = self.revision
        stored.metadata.create_revision = before.metadata.create_revision if before else self.revision
        stored.metadata.uid = before.metadata.uid if before else obj.metadata.uid or f"uid-{self.revision}"
        generation = before.metadata.generation if before else 0
        stored.metadata.generation = generation + (before is None or before.spec != obj.spec)
        if before is not None:
            stored.status.CopyFrom(before.status)
        self.objects[key_of(obj)] = stored
        self._written()

    def publish(self) -> None:
        """The cache sees everything."""
        self.cache.become(self.objects, self.revision)

    def _written(self) -> None:
        if self.live:
            self.publish()

    def _arrived(self, verb: str, preconditions: Sequence[Precondition]) -> None:
        self.calls.append(verb)
        if self.errors:
            raise self.errors.pop(0)
        for precondition in preconditions:
            obj = self.objects.get(ObjectKey.from_proto(precondition.key))
            revision = obj.metadata.revision if obj else 0
            if precondition.revision and precondition.revision != revision:
                raise AbortedError("stale", revision=revision)
            if precondition.absent and obj is not None:
                raise AbortedError("exists", revision=revision)


class FakeCache:
    """`Cache` of every type, as of one revision."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, Object] = {}
        self.revision = 0
        self.synced = True
        self.connected = True
        self._listeners: list[Listener] = []

    def get(self, key: ObjectKey) -> Object | None:
        return self.objects.get(key)

    def list(self, type_name: str) -> Sequence[Object]:
        return [self.objects[key] for key in sorted(self.objects) if key.type == type_name]

    def keys(self, type_name: str) -> Sequence[ObjectKey]:
        return [key for key in sorted(self.objects) if key.type == type_name]

    def labelled(self, type_name: str, label: str, value: str) -> Set[ObjectKey]:
        return LabelIndex(label, self.list(type_name)).keys(value)

    def related(self, relation: Relation, value: str) -> Collection[ObjectKey]:
        objects = [self.objects[key] for key in sorted(self.objects)]
        return KeysByValue(relations_of, objects).keys((relation, value))

    def indexed(
        self, type_name: str, values_of: Callable[[Object], Iterable[str]], value: str
    ) -> Collection[ObjectKey]:
        return KeysByValue(values_of, self.list(type_name)).keys(value)

    def assume(self, decided: ObjectKey, objects: Sequence[Object]) -> None:
        """Nothing: a test publishes when it wants to."""

    def position(self, type_name: str) -> Position | None:
        return Position(self.revision, STORE)

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    def become(self, objects: dict[ObjectKey, Object], revision: int) -> None:
        before, self.objects, self.revision = self.objects, {}, revision
        for key, obj in objects.items():
            self.objects[key] = Object.FromString(obj.SerializeToString())
        for key in sorted(before.keys() | self.objects.keys()):
            if before.get(key) != self.objects.get(key):
                self._tell(Change(key, before.get(key), self.objects.get(key), revision))
        self._tell(None)

    def connect(self, connected: bool) -> None:
        self.connected = connected
        self._tell(None)

    def _tell(self, change: Change | None) -> None:
        for listener in list(self._listeners):
            listener(change)


def unit_object(name: str, start: str = "/bin/serve", node: str = "worker-1") -> Object:
    spec = Unit()
    spec.service.exec.start.append(start)
    return of_unit(name, spec, node)


def of_unit(name: str, spec: Unit, node: str = "worker-1") -> Object:
    obj = Object()
    obj.metadata.namespace, obj.metadata.name = "default", name
    if node:
        obj.metadata.labels["node"] = node
    obj.spec.Pack(spec, TYPE_URL_PREFIX, deterministic=True)
    return obj


def text_any(text: str) -> Any:
    """Any message will do as memory, action or status: here a Key that carries a word."""
    packed = Any()
    packed.Pack(Key(name=text), TYPE_URL_PREFIX, deterministic=True)
    return packed


def word(packed: Any) -> str:
    key = Key()
    packed.Unpack(key)
    return key.name


def decision(memory: str = "", actions: Sequence[str] = (), statuses: Sequence[str] = ()) -> Decision:
    """A decision of words."""
    made = Decision()
    if memory:
        made.memory.CopyFrom(text_any(memory))
    for action in actions:
        made.actions.add().action.CopyFrom(text_any(action))
    for status in statuses:
        made.calls.add().update_status.status.CopyFrom(text_any(status))
    return made


def away() -> UnavailableError:
    return UnavailableError("the apiserver is away")
