"""etcd's smaller services on a member: maintenance, authentication; and the members' own."""

from __future__ import annotations

from rube.sim.etcd import errors
from rube.sim.etcd.consensus import Consensus
from rube.sim.etcd.errors import EtcdError
from rube.sim.etcd.kv import Context, Gate
from rube.sim.etcd.member import Member, member_id
from rube.sim.etcd.peer_pb2 import (
    AppendRequest,
    AppendResponse,
    Entry,
    ProposeResponse,
    ReadIndexRequest,
    ReadIndexResponse,
)
from rube.sim.etcd.peer_pb2_grpc import PeerServicer
from rube.sim.etcd.tokens import Tokens
from rube.store.etcd.rpc_pb2 import (
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    AuthenticateRequest,
    AuthenticateResponse,
    DefragmentRequest,
    DefragmentResponse,
    HashKVRequest,
    HashKVResponse,
    StatusRequest,
    StatusResponse,
)
from rube.store.etcd.rpc_pb2_grpc import AuthServicer, MaintenanceServicer

VERSION = "3.4.23"


class Maintenance(MaintenanceServicer):
    """etcd's maintenance service."""

    def __init__(self, member: Member, gate: Gate) -> None:
        self._member = member
        self._gate = gate

    async def Alarm(self, request: AlarmRequest, context: Context) -> AlarmResponse:
        async with self._gate.enter(context):
            if request.action != AlarmRequest.GET:
                response: AlarmResponse = await self._member.write(Entry(alarm=request))
                return response
        alarms = [
            AlarmMember(memberID=member, alarm=kind)
            for member, kind in self._member.alarms
            if request.alarm in (0, kind)
        ]
        return AlarmResponse(alarms=alarms)

    async def Status(self, _request: StatusRequest, context: Context) -> StatusResponse:
        member = self._member
        async with self._gate.enter(context):
            leader = member.consensus.leader
            response = StatusResponse(
                header=member.header(),
                version=VERSION,
                dbSize=member.keyspace.size_bytes,
                dbSizeInUse=member.keyspace.size_in_use_bytes,
                leader=member_id(leader) if leader else 0,
                raftIndex=member.consensus.committed_index,
                raftTerm=member.consensus.term,
                raftAppliedIndex=member.applied_index,
                errors=[f"memberID:{number} alarm:{AlarmType.Name(kind)} " for number, kind in member.alarms],
            )
            if not leader:
                response.errors.append(errors.no_leader().text)
        return response

    async def Defragment(self, _request: DefragmentRequest, context: Context) -> DefragmentResponse:
        async with self._gate.enter(context):
            self._member.keyspace.defragment()
        return DefragmentResponse()

    async def HashKV(self, request: HashKVRequest, context: Context) -> HashKVResponse:
        keyspace = self._member.keyspace
        async with self._gate.enter(context):
            keyspace.check_readable(request.revision)
            checksum = keyspace.hash(request.revision or keyspace.revision)
        return HashKVResponse(header=self._member.header(), hash=checksum, compact_revision=keyspace.compact_revision)


class Auth(AuthServicer):
    """etcd's authentication: the one service that needs no token."""

    def __init__(self, member: Member, tokens: Tokens) -> None:
        self._member = member
        self._tokens = tokens

    async def Authenticate(self, request: AuthenticateRequest, context: Context) -> AuthenticateResponse:
        try:
            token = self._tokens.give(request.name, request.password)
        except EtcdError as error:
            await context.abort(error.code, error.text)
        return AuthenticateResponse(header=self._member.header(), token=token)


class Peer(PeerServicer):
    """What the other members ask."""

    def __init__(self, consensus: Consensus) -> None:
        self._consensus = consensus

    async def Append(self, request: AppendRequest, _context: Context) -> AppendResponse:
        return await self._consensus.append(request)

    async def Propose(self, request: Entry, _context: Context) -> ProposeResponse:
        self._consensus.take(request)
        return ProposeResponse()

    async def ReadIndex(self, _request: ReadIndexRequest, context: Context) -> ReadIndexResponse:
        try:
            return ReadIndexResponse(index=await self._consensus.own_read_index())
        except EtcdError as error:
            await context.abort(error.code, error.text)
