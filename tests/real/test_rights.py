"""Rights of real daemons: an apiserver with them, and ructl."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rube.api import GetRequest, PutRequest
from rube.api.errors import RubeError
from rube.api.keys import ObjectKey
from rube.client import Client
from rube.host import Host, RealClock, RealRandomness
from rube.server import ApiServer, ApiServerConfig
from rube.server.rights.subjects import RightsConfig
from rube.store import RealStorage, open_store
from rube.transport import GrpcNetwork
from rube.trust import Identity
from ructl.main import run
from tests.conformance.api.api_sites import unit
from tests.conformance.transport.transport_identities import NOW, RealIdentities
from tests.real.ructl_apiserver import Apiserver

UNIT = """
metadata { namespace: "shop" name: "till" }
spec { [rube/api.systemd.Unit] { service { exec { start: "/bin/sleep 60" } } } }
"""


@contextmanager
def served(directory: Path, *options: str) -> Iterator[str]:
    server = Apiserver(directory, options=("--controllers", "", *options))
    server.start()
    try:
        yield server.listen
    finally:
        server.stop()


def test_ructl_says_what_the_caller_may_do_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "unit").write_text(UNIT)

    def asked(server: str, *arguments: str) -> tuple[int, str]:
        code = run([*arguments, "--server", server])
        said = capsys.readouterr()
        return code, said.out + said.err

    with served(tmp_path) as server:
        assert asked(server, "auth", "whoami")[1].endswith("rights are off: everyone may do everything\n")
        assert asked(server, "auth", "can-i", "put", "Unit") == (0, "yes: rights are off, everyone may do everything\n")
        assert asked(server, "put", str(tmp_path / "unit"))[0] == 0
    with served(tmp_path, "--rights", "--local", "read-only") as server:
        assert "role: read-only, by group readers" in asked(server, "auth", "whoami")[1]
        assert asked(server, "auth", "can-i", "list", "Unit", "-n", "shop")[0] == 0
        code, why = asked(server, "auth", "can-i", "delete", "Unit", "-n", "shop", "till")
        verbs = "get, history, list, logs, watch, and not delete: add it to a role"
        assert (code, why) == (1, f"no\n  its rules for api.systemd.Unit have the verbs {verbs}\n")
        assert asked(server, "get", "-t", "Unit", "-n", "shop", "till")[0] == 0
        code, refused = asked(server, "delete", "-t", "Unit", "-n", "shop", "till")
        assert code == 1
        assert refused == (
            "ructl: user/local may not delete api.systemd.Unit/shop/till: no rule allows it; "
            "'ructl auth why user/local delete api.systemd.Unit -n shop till' says what is missing\n"
        )
    with served(tmp_path, "--rights", "--local", "deny") as server:
        assert asked(server, "auth", "whoami")[1].startswith("anonymous\n")
        code, refused = asked(server, "list", "-t", "Unit")
        assert code == 1
        assert "shows no identity" in refused


def test_a_certificate_says_who_calls(tmp_path: Path) -> None:
    certified = RealIdentities(tmp_path)

    def host(where: str, identity: Identity) -> Host:
        tls = certified.issue(where, identity, days=NOW)
        network = GrpcNetwork(tls=tls)
        return Host(name=where, clock=RealClock(), network=network, storage=RealStorage(), random=RealRandomness())

    async def got(caller: Host, address: str, name: str) -> str:
        async with Client(caller, [address]) as client:
            request = GetRequest(key=ObjectKey("api.systemd.Unit", "system", name).to_proto())
            try:
                return (await client.get(request)).object.metadata.name
            except RubeError as error:
                return error.code

    async def main() -> None:
        serving = host("server", Identity(kind="member", name="s1", names=("127.0.0.1",)))
        store = await open_store(serving, "memory:")
        server = ApiServer(serving, store, ApiServerConfig(listen=("127.0.0.1:0",), rights=RightsConfig()))
        (address,) = await server.start()
        try:
            root = host("root", Identity(kind="user", name="root", groups=("admins",)))
            async with Client(root, [address]) as client:
                objects = [unit(name, labels={"node": node}) for name, node in (("own", "n1"), ("other", "n2"))]
                await client.put(PutRequest(objects=objects))
            node, user = (Identity(kind=kind, name="n1") for kind in ("node", "user"))
            assert await got(host("node", node), address, "own") == "own"
            assert await got(host("node", node), address, "other") == "PERMISSION_DENIED"
            assert await got(host("user", user), address, "own") == "PERMISSION_DENIED"
        finally:
            await server.stop(0)
            await store.close()

    asyncio.run(main())
