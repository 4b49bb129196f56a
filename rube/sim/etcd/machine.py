"""The state that the members of an etcd agree on: the keyspace and the alarms, as a group's state machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from google.protobuf.message import Message

from rube.group import Effect
from rube.host import Engine, Write
from rube.sim.etcd import apply, errors
from rube.sim.etcd.errors import EtcdError
from rube.sim.etcd.keyspace import Keyspace, Version
from rube.sim.etcd.raft_internal_pb2 import InternalRaftRequest, Meta
from rube.store.etcd.kv_pb2 import KeyValue
from rube.store.etcd.rpc_pb2 import (
    NOSPACE,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    CompactionResponse,
    PutRequest,
    ResponseHeader,
    TxnRequest,
)

Answer = tuple[Message, Sequence[Write]]

_META_KEY = b"etcd/meta"
_VERSIONS = (b"etcd/version/", b"etcd/version0")
_RANGE = (b"etcd/", b"etcd0")
_REVISION_BYTES = 8
_SUB_BYTES = 4


class EtcdMachine:
    """`rube.group.StateMachine` of an etcd. Outcomes: an answer whose header has a revision only, or an EtcdError.

    The engine has a row for each version that is kept, and one for the rest; all of it is in memory too.
    """

    def __init__(self, engine: Engine, changed: Callable[[], None], *, keeps_compacted_deletes: bool) -> None:
        """`changed` is called with every change, before its writes are durable."""
        self._engine = engine
        self._changed = changed
        self._keeps_compacted_deletes = keeps_compacted_deletes
        # Replaced when a snapshot has come.
        self.keyspace = self._empty()
        # Sorted.
        self.alarms: list[tuple[int, AlarmType.ValueType]] = []

    @property
    def has_space(self) -> bool:
        return all(alarm != NOSPACE for _, alarm in self.alarms)

    @property
    def ranges(self) -> Sequence[tuple[bytes, bytes]]:
        return (_RANGE,)

    def apply(self, command: bytes) -> Effect:
        outcome: Message | EtcdError
        writes: Sequence[Write]
        try:
            outcome, writes = self._answer(InternalRaftRequest.FromString(command))
        except EtcdError as error:
            outcome, writes = error, ()
        written = [Write(_key(version), _encoded(version.kv)) for version in self.keyspace.commit()]
        self._changed()
        return Effect(outcome, [*written, *writes])

    def durable(self, writes: int) -> None:
        """Nothing is read from the engine but at `reload`."""

    def suspend(self) -> None:
        """Does nothing: reads of the old state in memory are harmless meanwhile."""

    async def reload(self, group_id: str) -> None:
        data = self._engine.get(_META_KEY)
        meta = Meta(compact_revision=-1) if data is None else Meta.FromString(data)
        self.keyspace = self._empty()
        self.keyspace.load(self._versions(), meta.compact_revision)
        self.alarms = [(alarm.memberID, alarm.alarm) for alarm in meta.alarms]
        self._changed()

    # Inside

    def _answer(self, request: InternalRaftRequest) -> Answer:
        """Carries out a request, and gives what it writes beside versions. Raises EtcdError."""
        match request.WhichOneof("request"):
            case "put":
                self._check_space(request.put)
                return apply.put(self.keyspace, request.put), ()
            case "txn":
                self._check_space(request.txn)
                return apply.txn(self.keyspace, request.txn), ()
            case "delete_range":
                return apply.delete_range(self.keyspace, request.delete_range), ()
            case "compaction":
                return self._compact(request.compaction.revision)
            case "alarm":
                return self._alarm(request.alarm)
        raise AssertionError("a request in the log asks for nothing")

    def _check_space(self, request: PutRequest | TxnRequest) -> None:
        if not self.has_space and apply.cost_bytes(request):
            raise errors.no_space()

    def _compact(self, revision: int) -> Answer:
        gone = self.keyspace.compact(revision)
        header = ResponseHeader(revision=self.keyspace.revision)
        return CompactionResponse(header=header), [*(Write(_key(version), None) for version in gone), self._meta()]

    def _alarm(self, request: AlarmRequest) -> Answer:
        alarm = (request.memberID, request.alarm)
        told = []
        if request.action == AlarmRequest.ACTIVATE:
            told = [alarm]
            self.alarms = sorted({*self.alarms, alarm})
        elif alarm in self.alarms:
            told = [alarm]
            self.alarms.remove(alarm)
        return AlarmResponse(alarms=_messages(told)), [self._meta()]

    def _meta(self) -> Write:
        meta = Meta(compact_revision=self.keyspace.compact_revision, alarms=_messages(self.alarms))
        return Write(_META_KEY, _encoded(meta))

    def _empty(self) -> Keyspace:
        return Keyspace(keeps_compacted_deletes=self._keeps_compacted_deletes)

    def _versions(self) -> Iterator[Version]:
        """Every version in the engine, in the order in which they were written."""
        for key, value in self._engine.scan(*_VERSIONS):
            kv = KeyValue.FromString(value)
            yield Version(int.from_bytes(key[-_SUB_BYTES:], "big"), kv, deleted=not kv.version)


def _messages(alarms: Sequence[tuple[int, AlarmType.ValueType]]) -> list[AlarmMember]:
    return [AlarmMember(memberID=member, alarm=kind) for member, kind in alarms]


def _key(version: Version) -> bytes:
    revision = version.kv.mod_revision.to_bytes(_REVISION_BYTES, "big")
    return _VERSIONS[0] + revision + version.sub.to_bytes(_SUB_BYTES, "big")


def _encoded(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)
