"""The stores that the benches compare: where each is, and the servers that some need. Debian's packages bring those."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.api_servers import etcd_is_installed, free_port, running_etcd
from rube.cli.local import Daemon

REPOSITORY = Path(__file__).parents[1]
from tests.mariadb import MariaDb, missing  # noqa: E402

KINDS = ("sqlite", "rocksdb", "raft+sqlite", "raft+sqlite x3", "etcd", "mysql", "memory")
APISERVER = [sys.executable, "-m", "rube.cli.main", "apiserver", "--controllers", "", "--log-level", "error"]


def unavailable(kind: str) -> str:
    """The program that is missing for that kind; empty if none is."""
    if kind == "etcd" and not etcd_is_installed():
        return "etcd is not installed: apt-get install etcd-server"
    return missing() if kind == "mysql" else ""


@contextmanager
def store_urls(kind: str, directory: Path) -> Iterator[list[str]]:
    """The URL of an empty store of that kind, for each of its apiservers."""
    directory.mkdir(parents=True)
    with ExitStack() as stack:
        match kind:
            case "sqlite" | "rocksdb":
                yield [f"{kind}:///{directory}/store"]
            case "memory":
                yield ["memory:"]
            case "raft+sqlite" | "raft+sqlite x3":
                names = "abc" if kind.endswith("x3") else "a"
                members = {name: f"127.0.0.1:{free_port()}" for name in names}
                listed = ",".join(f"{name}={address}" for name, address in members.items())
                yield [f"raft+sqlite:///{directory}/{name}.db?name={name}&members={listed}" for name in names]
            case "etcd":
                yield [f"etcd://{stack.enter_context(running_etcd(directory / 'etcd'))}/bench"]
            case "mysql":
                server = MariaDb(directory)
                stack.callback(server.stop)
                server.start()
                server.sql("CREATE DATABASE bench")
                yield [server.url("bench")]
            case _:
                raise AssertionError(f"{kind} is not one of {KINDS}")


class Apiservers:
    """An apiserver process for each URL; `addresses` answer while the block lasts."""

    def __init__(self, urls: list[str], directory: Path, *, server_kind: str = "grpcio") -> None:
        self.daemons = [
            Daemon(
                f"apiserver {number}",
                [*APISERVER, "--grpc", server_kind, "--store", url, "--listen", f"127.0.0.1:{free_port()}"],
                log=directory / f"apiserver-{number}.log",
            )
            for number, url in enumerate(urls)
        ]
        self.addresses = [daemon.argv[-1] for daemon in self.daemons]

    async def __aenter__(self) -> Apiservers:
        await asyncio.gather(*(daemon.start() for daemon in self.daemons))
        return self

    async def __aexit__(self, *_: object) -> None:
        for daemon in self.daemons:
            await daemon.stop()


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
