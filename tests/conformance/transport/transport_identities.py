"""The certificates of the suite: made by `rube.trust` for the real sites, and simulated for the simulated one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from rube.host import ChannelTls, ServerTls
from rube.sim.world.kernel import SimHost
from rube.sim.world.network import SimCertificate, SimFabric
from rube.trust import Authority, Identity, Key
from rube.trust.keys import write_file

DAY_NS = 24 * 3600 * 10**9
CLIENT = Identity(kind="user", name="ada", groups=("ops", "admins"))
NOW = (-1.0, 7.0)
PAST = (-9.0, -1.0)
FUTURE = (1.0, 9.0)


class Identities(Protocol):
    """The files of one site. An issuer is a CA by name; `days` say from when to when a certificate is valid."""

    host: str
    """The host that clients connect to."""

    def issue(
        self, where: str, identity: Identity, *, issuer: str = "ours", trusts: str = "ours", days: tuple[float, float]
    ) -> ChannelTls:
        """Writes the files of a party, `client` or `server`, over those that are there; returns their paths."""
        ...


def client_tls(site_identities: Identities, **given: object) -> ChannelTls:
    return site_identities.issue("client", CLIENT, **{"days": NOW, **given})  # type: ignore[arg-type]


def server_tls(site_identities: Identities, names: tuple[str, ...] | None = None, **given: object) -> ServerTls:
    names = (site_identities.host,) if names is None else names
    identity = Identity(kind="member", name="s1", names=names)
    tls = site_identities.issue("server", identity, **{"days": NOW, **given})  # type: ignore[arg-type]
    return ServerTls(cert=tls.cert, key=tls.key, client_ca=tls.ca)


class RealIdentities:
    """Files in a directory."""

    host = "127.0.0.1"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._authorities: dict[str, Authority] = {}

    def issue(
        self, where: str, identity: Identity, *, issuer: str = "ours", trusts: str = "ours", days: tuple[float, float]
    ) -> ChannelTls:
        directory = self._path / where
        directory.mkdir(exist_ok=True)
        now_ns, key = time.time_ns(), Key.make()
        begin_ns, end_ns = (now_ns + int(day * DAY_NS) for day in days)
        issued = self._authority(issuer).issue(identity, key.private.public_key(), begin_ns=begin_ns, end_ns=end_ns)
        for name, data in (("ca.pem", self._authority(trusts).pem()), ("cert.pem", issued), ("key.pem", key.pem())):
            write_file(directory / name, data, 0o600)
        return ChannelTls(ca=f"{directory}/ca.pem", cert=f"{directory}/cert.pem", key=f"{directory}/key.pem")

    def _authority(self, name: str) -> Authority:
        if name not in self._authorities:
            self._authorities[name] = Authority.make(name, time.time_ns())
        return self._authorities[name]


class SimIdentities:
    """Files of simulated hosts, which their own clocks judge."""

    host = "server"

    def __init__(self, fabric: SimFabric, client: SimHost, server: SimHost) -> None:
        self._fabric = fabric
        self._hosts = {"client": client, "server": server}
        self._serial = 0

    def issue(
        self, where: str, identity: Identity, *, issuer: str = "ours", trusts: str = "ours", days: tuple[float, float]
    ) -> ChannelTls:
        host = self._hosts[where]
        self._serial += 1
        now_ns = host.hostclock.wall_ns(0)
        begin_ns, end_ns = (now_ns + int(day * DAY_NS) for day in days)
        certificate = SimCertificate(
            uri=identity.uri,
            groups=identity.groups,
            names=identity.names,
            issuer=issuer,
            not_before_ns=begin_ns,
            not_after_ns=end_ns,
            serial=self._serial,
        )
        return self._fabric.tls_files(host).identity("/tls", certificate, [trusts])
