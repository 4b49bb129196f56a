"""Real etcd clusters on loopback, for tests: `with EtcdCluster(directory, members=3) as cluster`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.real.namespaces import Namespaces

HEALTHY_S_MAX = 15.0
ENVIRONMENT = {**os.environ, "ETCDCTL_API": "3"}


def need_etcd() -> None:
    """Skips the test where etcd is not installed."""
    for command, package in (("etcd", "etcd-server"), ("etcdctl", "etcd-client")):
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed: apt-get install {package}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class EtcdMember:
    """One etcd process and what it is started with."""

    def __init__(self, name: str, directory: Path, address: str, command: Sequence[str]) -> None:
        self.name = name
        self.address = address
        self._log = directory / f"{name}.log"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=ENVIRONMENT)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class EtcdCluster:
    """Members on free ports, in a directory of the test. Ends them at the end of the block."""

    def __init__(
        self,
        directory: Path,
        members: int = 1,
        options: Sequence[str] = (),
        tls: Path | None = None,
        namespaces: Namespaces | None = None,
    ) -> None:
        """`namespaces`: each member in one of its own."""
        need_etcd()
        self._tls = tls
        scheme = "https" if tls else "http"
        ports = free_ports(2 * members)
        names = [f"n{number}" for number in range(members)]
        hosts = [namespaces.address(number) if namespaces else "127.0.0.1" for number in range(members)]
        peers = [f"http://{host}:{port}" for host, port in zip(hosts, ports[members:], strict=True)]
        clients = [f"{host}:{port}" for host, port in zip(hosts, ports, strict=False)]
        # No other member votes, or all are on one machine: an election need not take seconds.
        timing = (10, 100) if members == 1 else (50, 500)
        if tls:
            options = (
                *options,
                f"--cert-file={tls}/server.pem",
                f"--key-file={tls}/server.key",
                f"--trusted-ca-file={tls}/ca.pem",
                "--client-cert-auth",
            )
        self.members = [
            EtcdMember(
                name,
                directory,
                clients[number],
                [
                    *(namespaces.command(number) if namespaces else ()),
                    "etcd",
                    f"--name={name}",
                    f"--data-dir={directory / name}",
                    f"--listen-client-urls={scheme}://{clients[number]}",
                    f"--advertise-client-urls={scheme}://{clients[number]}",
                    f"--listen-peer-urls={peers[number]}",
                    f"--initial-advertise-peer-urls={peers[number]}",
                    "--initial-cluster=" + ",".join(f"{n}={peer}" for n, peer in zip(names, peers, strict=True)),
                    "--initial-cluster-state=new",
                    f"--heartbeat-interval={timing[0]}",
                    f"--election-timeout={timing[1]}",
                    "--bcrypt-cost=4",
                    "--logger=zap",
                    "--log-level=warn",
                    *options,
                ],
            )
            for number, name in enumerate(names)
        ]

    def __enter__(self) -> Self:
        try:
            for member in self.members:
                member.start()
            self.wait_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.kill()

    @property
    def addresses(self) -> str:
        return ",".join(member.address for member in self.members)

    def url(self, prefix: str = "", query: str = "") -> str:
        return f"etcd://{self.addresses}/{prefix}{query}"

    def ctl(self, *arguments: str, check: bool = True, endpoints: str = "") -> str:
        """The output of etcdctl, both streams, about all members. With TLS it uses the client's certificate."""
        scheme = "https" if self._tls else "http"
        endpoints = endpoints or ",".join(f"{scheme}://{member.address}" for member in self.members)
        files = (
            [f"--cacert={self._tls}/ca.pem", f"--cert={self._tls}/client.pem", f"--key={self._tls}/client.key"]
            if self._tls
            else []
        )
        command = ["etcdctl", f"--endpoints={endpoints}", "--command-timeout=5s", *files, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout + done.stderr

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + HEALTHY_S_MAX
        while "is unhealthy" in (shown := self.ctl("endpoint", "health", check=False)) or "is healthy" not in shown:
            assert time.monotonic() < deadline, f"etcd did not become healthy in {HEALTHY_S_MAX} s"
            time.sleep(0.05)

    def leader(self) -> EtcdMember:
        """The leader, as the members say now."""
        for address, _, leads in self._status():
            if leads:
                return next(member for member in self.members if address.endswith(member.address))
        raise AssertionError("no member says that it leads")

    def hand_over(self) -> None:
        """Has the leader make another member lead."""
        other = next(number for _, number, leads in self._status() if not leads)
        self.ctl("move-leader", other, endpoints=self.leader().address)

    def _status(self) -> list[tuple[str, str, bool]]:
        """The URL and number of each member that answers, and whether it leads."""
        lines = self.ctl("endpoint", "status", check=False).splitlines()
        parts = [[part.strip() for part in line.split(",")] for line in lines if line.count(",") > 4]
        return [(address, number, leads == "true") for address, number, _, _, leads, *_ in parts]
