"""A simulated etcd with users: who shows no token is refused, and a store gets one for its password."""

from __future__ import annotations

import pytest
from grpc import aio

from rube.api.errors import RubeError
from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.machines import Daemon, make_machine
from rube.sim.etcd import MemberConfig, run_member
from rube.sim.world.kernel import World
from rube.store import Op, Txn, open_store
from rube.store.etcd import rpc_pb2 as etcd
from rube.store.etcd.rpc_pb2_grpc import AuthStub, KVStub


def test_a_store_needs_the_right_password() -> None:
    with World(seed=1) as world:
        fabric = SimCluster(world).fabric
        member, client = (make_machine(world, fabric, world.host(name)) for name in ("etcd-1", "client"))
        config = MemberConfig(name="etcd-1", users={"rube": "secret"})
        member.daemon = Daemon(name="etcd", main=lambda: run_member(member.ports, config))
        member.start()
        world.run_for(3)  # until it leads

        async def main() -> list[str | None]:
            channel = client.ports.network.channel("etcd-1:2379")
            refused = []
            for call in (
                KVStub(channel).Put(etcd.PutRequest(key=b"k")),
                KVStub(channel).Put(etcd.PutRequest(key=b"k"), metadata=(("token", "rube.7"),)),
                AuthStub(channel).Authenticate(etcd.AuthenticateRequest(name="rube", password="guess")),
            ):
                with pytest.raises(aio.AioRpcError) as error:
                    await call
                refused.append(error.value.details())
            store = await open_store(client.ports, "etcd://rube:secret@etcd-1:2379")
            await store.commit(Txn((Op(b"k", b"v"),)))
            member.kill()  # its tokens are forgotten
            member.start()
            assert (await store.get([b"k"])).records[0] is not None
            await store.close()
            with pytest.raises(RubeError, match="etcd refuses user 'rube'"):
                await open_store(client.ports, "etcd://rube:guess@etcd-1:2379")
            return refused

        assert world.run(main, host=client.host) == [
            "etcdserver: user name is empty",
            "etcdserver: invalid auth token",
            "etcdserver: authentication failed, invalid user ID or password",
        ]


def test_a_token_of_an_earlier_incarnation_is_refused() -> None:
    with World(seed=1) as world:
        fabric = SimCluster(world).fabric
        member, client = (make_machine(world, fabric, world.host(name)) for name in ("etcd-1", "client"))
        config = MemberConfig(name="etcd-1", users={"root": "secret"})
        member.daemon = Daemon(name="etcd", main=lambda: run_member(member.ports, config))
        member.start()
        world.run_for(3)  # until it leads

        async def token() -> str:
            auth = AuthStub(client.ports.network.channel("etcd-1:2379"))
            request = etcd.AuthenticateRequest(name="root", password="secret")
            return str((await auth.Authenticate(request, wait_for_ready=True, timeout=30)).token)

        async def main() -> None:
            stale = await token()
            member.kill()
            member.start()
            fresh = await token()
            kv = KVStub(client.ports.network.channel("etcd-1:2379"))
            await kv.Put(etcd.PutRequest(key=b"k"), metadata=(("token", fresh),))
            with pytest.raises(aio.AioRpcError, match="etcdserver: invalid auth token"):
                await kv.Put(etcd.PutRequest(key=b"k"), metadata=(("token", stale),))

        world.run(main, host=client.host)
