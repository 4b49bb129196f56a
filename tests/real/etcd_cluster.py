"""Real etcd clusters on loopback, for tests: `with EtcdCluster(directory, members=3) as cluster`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

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

    def __init__(self, name: str, directory: Path, port: int, arguments: Sequence[str]) -> None:
        self.name = name
        self.address = f"127.0.0.1:{port}"
        self._log = directory / f"{name}.log"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(["etcd", *self._arguments], stdout=log, stderr=log, env=ENVIRONMENT)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """As if all its packets were lost, both ways: connections stay, nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)


class EtcdCluster:
    """Members on free ports, in a directory of the test. Ends them at the end of the block."""

    def __init__(self, directory: Path, members: int = 1, options: Sequence[str] = (), tls: Path | None = None) -> None:
        need_etcd()
        self._tls = tls
        scheme = "https" if tls else "http"
        ports = free_ports(2 * members)
        names = [f"n{number}" for number in range(members)]
        peers = [f"http://127.0.0.1:{port}" for port in ports[members:]]
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
                ports[number],
                [
                    f"--name={name}",
                    f"--data-dir={directory / name}",
                    f"--listen-client-urls={scheme}://127.0.0.1:{ports[number]}",
                    f"--advertise-client-urls={scheme}://127.0.0.1:{ports[number]}",
                    f"--listen-peer-urls={peers[number]}",
                    f"--initial-advertise-peer-urls={peers[number]}",
                    "--initial-cluster=" + ",".join(f"{n}={peer}" for n, peer in zip(names, peers, strict=True)),
                    "--initial-cluster-state=new",
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

    def ctl(self, *arguments: str, check: bool = True) -> str:
        """What etcdctl prints, on either output. Of TLS it uses the client's certificate."""
        scheme = "https" if self._tls else "http"
        endpoints = ",".join(f"{scheme}://{member.address}" for member in self.members)
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
        """By what the members say now."""
        for line in self.ctl("endpoint", "status", check=False).splitlines():
            address, _, _, _, is_leader, *_ = (part.strip() for part in line.split(","))
            if is_leader == "true":
                return next(member for member in self.members if address.endswith(member.address))
        raise AssertionError("no member says that it leads")
