"""Mutual TLS between real processes, from nothing: rube init, an apiserver that signs, a node that joins, ructl."""

from __future__ import annotations

import asyncio
import stat
import sys
from pathlib import Path

from rube.cli.local import APISERVER, RUBELET, RUCTL, Daemon, listen_address, purge, run
from rube.transport.tls_faults import TlsFault

RUBE = (sys.executable, "-m", "rube.cli.main")
HELLO = Path(__file__).parents[2] / "examples" / "01-hello-unit" / "hello.textproto"


async def said(*argv: str | Path) -> str:
    code, output = await run([str(part) for part in argv])
    assert code == 0, output
    return output


async def refused(*argv: str | Path) -> str:
    code, output = await run([str(part) for part in argv])
    assert code == 1, output
    assert "Traceback" not in output
    return output


def test_from_nothing_to_mutual_tls(tmp_path: Path) -> None:
    asyncio.run(from_nothing_to_mutual_tls(tmp_path))


async def from_nothing_to_mutual_tls(path: Path) -> None:
    files = path / "rube"
    words, _, address = (await said(*RUBE, "init", files)).split()[-1].partition("@")
    keys = [*files.glob("*/key.pem"), files / "ca" / "ca.key", files / "ca" / "first-token"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert len(keys) == 4
    tls = ("--tls", str(files / "server"), "--ca", str(files / "ca"))
    apiserver = Daemon(
        "apiserver",
        [*APISERVER, "--store", f"sqlite:///{path / 'store.db'}", "--listen", "127.0.0.1:0", *tls],
        log=path / "apiserver.log",
    )
    address = listen_address(await apiserver.start())
    node = ("--node", "worker-1", "--data", str(path / "node"))
    rubelet = Daemon("rubelet", [*RUBELET, *node, "--driver", "supervisor"], log=path / "node.log")
    try:
        assert "nothing was sent" in await refused(*RUBELET, "join", f"{wrong(words)}@{address}", "--only", *node)
        assert not (path / "node").exists()
        await said(*RUBELET, "join", f"{words}@{address}", "--only", *node)
        await rubelet.start()
        admin = (*RUCTL, "--server", address, "--tls", str(files / "admin"))
        assert "created default/hello" in await said(*admin, "put", HELLO)
        await said(*admin, "wait", "-t", "Unit", "hello", "--for", "active", "--within", "60s")  # with gRPC's library
        assert "worker-1" in await said(*admin, "list", "-t", "Unit")  # without it
        assert "node/*  used 1/100" in await said(*RUBE, "token", "list", *admin[3:])
        await rotate_and_revoke(files, admin, address)
        plain = (*RUCTL, "--server", address)
        assert TlsFault.TLS_SERVER.value in await refused(*plain, "list", "-t", "Unit")
        assert TlsFault.TLS_SERVER.value in await refused(*plain, "wait", "-t", "Unit", "hello", "--for", "active")
    finally:
        await rubelet.stop()
        await apiserver.stop()
        await purge(path / "node")


def wrong(words: str) -> str:
    """A line to join by with another CA's hash."""
    version, authority, *rest = words.split(".")
    return ".".join((version, authority[::-1], *rest))


async def rotate_and_revoke(files: Path, admin: tuple[str, ...], address: str) -> None:
    """Another CA signs from now on; a machine that joins by the old line, and the certificates before, go on."""
    await said(*RUBE, "init", files, "--rotate")
    node = ("--node", "worker-2", "--data", str(files.parent / "node-2"))
    line = (await said(*RUBE, "token", "create", "--node", "worker-2", *admin[3:])).split()[2]
    await said(*RUBELET, "join", line, "--only", *node)
    await said(*admin, "list", "-t", "Unit")
    worker = (*RUCTL, "--server", address, "--tls", str(files.parent / "node-2" / "tls"))
    await said(*worker, "list", "-t", "Unit")
    watching = asyncio.create_task(run([*worker, "watch", "-t", "Unit"]))
    await said(*RUBE, "revoke", "node/worker-2", *admin[3:])
    async with asyncio.timeout(60):
        code, output = await watching
    assert (code, "was revoked" in output) == (1, True), output
    assert "was revoked" in await refused(*worker, "list", "-t", "Unit")


def test_a_daemon_that_others_reach_needs_tls(tmp_path: Path) -> None:
    listen = ("apiserver", "--store", "memory:", "--listen", "0.0.0.0:0")
    assert "give --tls DIR" in asyncio.run(refused(*RUBE, *listen))


def test_a_certificate_is_renewed_in_place_with_its_key(tmp_path: Path) -> None:
    async def renew() -> None:
        await said(*RUBE, "init", tmp_path / "r")
        cert, key = tmp_path / "r" / "server" / "cert.pem", tmp_path / "r" / "server" / "key.pem"
        before = (cert.read_bytes(), key.read_bytes())
        await said(
            *RUBE, "cert", tmp_path / "r", "member/s1", "--host", "127.0.0.1", "--out", tmp_path / "r" / "server"
        )
        assert cert.read_bytes() != before[0]
        assert key.read_bytes() == before[1]
        assert "already" in await refused(*RUBE, "init", tmp_path / "r")

    asyncio.run(renew())
