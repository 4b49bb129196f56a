"""Mutual TLS between real processes, from nothing: rube init, rube cert, an apiserver, a rubelet, ructl."""

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
    await said(*RUBE, "init", files)
    await said(*RUBE, "cert", files, "node/worker-1")
    keys = [*files.glob("*/key.pem"), files / "ca" / "ca.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert len(keys) == 4
    tls = ("--tls", str(files / "server"))
    apiserver = Daemon(
        "apiserver",
        [*APISERVER, "--store", f"sqlite:///{path / 'store.db'}", "--listen", "127.0.0.1:0", *tls],
        log=path / "apiserver.log",
    )
    address = listen_address(await apiserver.start())
    argv = [*RUBELET, "--server", address, "--node", "worker-1", "--data", str(path / "node"), "--driver", "supervisor"]
    rubelet = Daemon("rubelet", [*argv, "--tls", str(files / "node-worker-1")], log=path / "node.log")
    try:
        await rubelet.start()
        admin = (*RUCTL, "--server", address, "--tls", str(files / "admin"))
        assert "created default/hello" in await said(*admin, "put", HELLO)
        await said(*admin, "wait", "-t", "Unit", "hello", "--for", "active", "--within", "60s")  # with gRPC's library
        assert "worker-1" in await said(*admin, "list", "-t", "Unit")  # without it
        plain = (*RUCTL, "--server", address)
        assert TlsFault.TLS_SERVER.value in await refused(*plain, "list", "-t", "Unit")
        assert TlsFault.TLS_SERVER.value in await refused(*plain, "wait", "-t", "Unit", "hello", "--for", "active")
    finally:
        await rubelet.stop()
        await apiserver.stop()
        await purge(path / "node")


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
