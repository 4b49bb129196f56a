"""etcd's smaller services on a member: maintenance and authentication."""

from __future__ import annotations

from rube.sim.etcd import errors
from rube.sim.etcd.errors import EtcdError
from rube.sim.etcd.kv import Context, RequestChecks
from rube.sim.etcd.member import Member
from rube.sim.etcd.raft_internal_pb2 import InternalRaftRequest
from rube.sim.etcd.tokens import AuthTokens
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

    def __init__(self, member: Member, gate: RequestChecks) -> None:
        self._member = member
        self._gate = gate

    async def Alarm(self, request: AlarmRequest, context: Context) -> AlarmResponse:
        async with self._gate.enter(context):
            if request.action != AlarmRequest.GET:
                response: AlarmResponse = await self._member.write(InternalRaftRequest(alarm=request))
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
            committed, applied = member.indexes
            header = member.header()
            response = StatusResponse(
                header=header,
                version=VERSION,
                dbSize=member.keyspace.size_bytes,
                dbSizeInUse=member.keyspace.size_in_use_bytes,
                leader=member.leader,
                raftIndex=committed,
                raftTerm=header.raft_term,
                raftAppliedIndex=applied,
                errors=[f"memberID:{number} alarm:{AlarmType.Name(kind)} " for number, kind in member.alarms],
            )
            if not member.leader:
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

    def __init__(self, member: Member, tokens: AuthTokens) -> None:
        self._member = member
        self._tokens = tokens

    async def Authenticate(self, request: AuthenticateRequest, context: Context) -> AuthenticateResponse:
        try:
            token = self._tokens.give(request.name, request.password)
        except EtcdError as error:
            await context.abort(error.code, error.text)
        return AuthenticateResponse(header=self._member.header(), token=token)
