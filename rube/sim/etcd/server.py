"""A member as a program: its services on two ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rube.host import Host, ServerOptions
from rube.sim.etcd.kv import KV, Gate
from rube.sim.etcd.maintenance import Auth, Maintenance, Peer
from rube.sim.etcd.member import CLIENT_PORT, PEER_PORT, Member, MemberConfig
from rube.sim.etcd.peer_pb2_grpc import add_PeerServicer_to_server
from rube.sim.etcd.referee import Referee
from rube.sim.etcd.tokens import Tokens
from rube.sim.etcd.watch import Watch
from rube.store.etcd.rpc_pb2_grpc import (
    add_AuthServicer_to_server,
    add_KVServicer_to_server,
    add_MaintenanceServicer_to_server,
    add_WatchServicer_to_server,
)

STOP_GRACE_S = 0.1


async def run_member(
    host: Host,
    config: MemberConfig,
    referee: Referee,
    *,
    client_address: str = f"0.0.0.0:{CLIENT_PORT}",
    peer_address: str = f"0.0.0.0:{PEER_PORT}",
    listening: Callable[[int], object] = lambda port: None,
) -> None:
    """One incarnation of a member, until cancelled or until its disk fails. `listening` is told the clients' port."""
    member = Member(host, config, referee)

    @asynccontextmanager
    async def serve() -> AsyncIterator[None]:
        tokens = Tokens(config.users)
        gate = Gate(member, tokens)
        peers, clients = host.network.server(), host.network.server(ServerOptions())
        add_PeerServicer_to_server(Peer(member.consensus), peers)
        add_KVServicer_to_server(KV(member, gate), clients)
        add_WatchServicer_to_server(Watch(member, gate), clients)
        add_MaintenanceServicer_to_server(Maintenance(member, gate), clients)
        add_AuthServicer_to_server(Auth(member, tokens), clients)
        peers.add_insecure_port(peer_address)
        port = clients.add_insecure_port(client_address)
        await peers.start()
        await clients.start()
        listening(port)
        try:
            yield
        finally:
            await clients.stop(STOP_GRACE_S)
            await peers.stop(STOP_GRACE_S)

    await member.run(serve)
