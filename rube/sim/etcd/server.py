"""A member as a program: its services on two ports."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rube.api.errors import RubeError
from rube.host import Host, ServerOptions
from rube.sim.etcd.config import CLIENT_PORT, PEER_PORT, MemberConfig
from rube.sim.etcd.kv import KV, RequestChecks
from rube.sim.etcd.maintenance import Auth, Maintenance
from rube.sim.etcd.member import Member
from rube.sim.etcd.tokens import AuthTokens
from rube.sim.etcd.watch import Watch
from rube.store.etcd.rpc_pb2_grpc import (
    add_AuthServicer_to_server,
    add_KVServicer_to_server,
    add_MaintenanceServicer_to_server,
    add_WatchServicer_to_server,
)

_LOG = logging.getLogger("rube.sim.etcd")

STOP_GRACE_S = 0.1


async def run_member(
    host: Host,
    config: MemberConfig,
    *,
    client_address: str = f"0.0.0.0:{CLIENT_PORT}",
    peer_address: str = f"0.0.0.0:{PEER_PORT}",
    listening: Callable[[int], object] = lambda port: None,
) -> None:
    """Runs one incarnation of a member, until cancelled. `listening` gets the clients' port.

    Returns, as etcd ends its process, once the disk fails or is full.
    """
    try:
        async with _opened(host, config, peer_address) as member:
            await member.ready()
            async with _serving(host, member, client_address, listening):
                raise await member.failed()
    except RubeError as error:
        _LOG.critical("%s ends: %s", config.name, error.message)


@asynccontextmanager
async def _opened(host: Host, config: MemberConfig, peer_address: str) -> AsyncIterator[Member]:
    engine = await host.storage.open(config.data_url)
    try:
        member = await Member.open(host, engine, config, peer_address)
        try:
            yield member
        finally:
            await member.close()
    finally:
        await engine.close()


@asynccontextmanager
async def _serving(host: Host, member: Member, address: str, listening: Callable[[int], object]) -> AsyncIterator[None]:
    tokens = AuthTokens(member.config.users, host.random.stream("etcd/tokens"))
    gate = RequestChecks(member, tokens)
    server = host.network.server(ServerOptions())
    add_KVServicer_to_server(KV(member, gate), server)
    add_WatchServicer_to_server(Watch(member, gate), server)
    add_MaintenanceServicer_to_server(Maintenance(member, gate), server)
    add_AuthServicer_to_server(Auth(member, tokens), server)
    port = server.add_insecure_port(address)
    await server.start()
    listening(port)
    try:
        yield
    finally:
        await server.stop(STOP_GRACE_S)
