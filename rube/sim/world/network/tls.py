"""Simulated TLS: certificates without keys, judged by each host's own clock.

A certificate here says what a real one says and is believed: nothing is signed, because the simulated programs do not
forge. The files are on their host by path, as the ports name them, so that a renewed file is used by the next
connection.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rube.api.addresses import is_loopback
from rube.api.errors import InvalidArgumentError
from rube.host import ChannelTls, ServerTls
from rube.sim.world.kernel import SimProcess
from rube.transport.tls_faults import TlsFault

HANDSHAKE_S: Final = 0.001
"""The processor time of a handshake, on each side."""
HELLO_BYTES: Final = 300
"""The size of a ClientHello with one key share, about; and of the server's part beside its certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimCertificate:
    """A certificate, as its owner's host and its peers know it."""

    uri: str
    """The identity, such as `spiffe://rube/node/worker-1`."""
    issuer: str
    """The CA's name."""
    not_before_ns: int
    not_after_ns: int
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """The hosts that a server with it may be called; a certificate without any is for clients."""
    serial: int = 1

    def pem(self) -> bytes:
        """Returns what stands for the certificate's bytes: two that differ have different ones."""
        encoded = base64.b64encode(repr(self).encode())
        return b"-----BEGIN CERTIFICATE-----\n" + encoded + b"\n-----END CERTIFICATE-----\n"

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        subject = ",".join([f"O={group}" for group in self.groups] + [f"CN={self.uri}"])
        return {
            "transport_security_type": (b"ssl",),
            "x509_subject": (subject.encode(),),
            "x509_pem_cert": (self.pem(),),
            "x509_subject_alternative_name": tuple(name.encode() for name in (self.uri, *self.names)),
        }


@dataclass(frozen=True, slots=True)
class SimKey:
    """The key of the certificate with that serial number."""

    serial: int


@dataclass(frozen=True, slots=True)
class SimAuthorities:
    """The names of the CAs in a file."""

    names: tuple[str, ...]


SimTlsFile = SimCertificate | SimKey | SimAuthorities


class TlsFiles:
    """The TLS files of one host, by path."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._files: dict[str, SimTlsFile] = {}

    def write(self, path: str, file: SimTlsFile) -> None:
        self._files[path] = file

    def identity(self, directory: str, certificate: SimCertificate, authorities: Sequence[str]) -> ChannelTls:
        """Writes a directory's three files, and returns their paths."""
        tls = ChannelTls(ca=f"{directory}/ca.pem", cert=f"{directory}/cert.pem", key=f"{directory}/key.pem")
        self.write(tls.ca, SimAuthorities(tuple(authorities)))
        self.write(tls.cert, certificate)
        self.write(tls.key, SimKey(certificate.serial))
        return tls

    def authorities(self, path: str) -> tuple[str, ...]:
        file = self._read("ca", path)
        if not isinstance(file, SimAuthorities):
            raise InvalidArgumentError(f"TLS file ca={path} holds no certificate that can be read: {file}")
        return file.names

    def certificate(self, cert: str, key: str) -> SimCertificate:
        """Raises InvalidArgumentError for files that are missing or do not belong together."""
        certificate, found = self._read("cert", cert), self._read("key", key)
        if not isinstance(certificate, SimCertificate) or found != SimKey(certificate.serial):
            raise InvalidArgumentError(
                f"TLS files cert={cert} and key={key} cannot be used together: the key is not the certificate's"
            )
        return certificate

    def check_channel(self, tls: ChannelTls) -> None:
        if bool(tls.cert) != bool(tls.key):
            raise InvalidArgumentError("TLS needs cert and key together, or neither")
        if tls.ca:
            self.authorities(tls.ca)
        if tls.cert:
            self.certificate(tls.cert, tls.key)

    def check_server(self, tls: ServerTls) -> None:
        for name in ("cert", "key", "client_ca"):
            if not getattr(tls, name):
                raise InvalidArgumentError(f"TLS of a server needs {name}: mutual TLS has no part that may be left out")
        self.authorities(tls.client_ca)
        self.certificate(tls.cert, tls.key)

    def _read(self, name: str, path: str) -> SimTlsFile:
        if path not in self._files:
            raise InvalidArgumentError(
                f"TLS file {name}={path} cannot be read: No such file or directory on host {self._host}"
            )
        return self._files[path]


def fault_of_server(
    certificate: SimCertificate, authorities: Sequence[str], host: str, client: SimProcess
) -> TlsFault | None:
    """Returns why the client of `host` does not believe the server; None if it does."""
    now_ns = client.clock.wall_ns(client.loop.now_ns)
    if certificate.issuer not in authorities:
        return TlsFault.UNKNOWN_AUTHORITY
    if now_ns < certificate.not_before_ns:
        return TlsFault.NOT_YET_VALID
    if now_ns > certificate.not_after_ns:
        return TlsFault.EXPIRED
    if not certificate.names:
        return TlsFault.WRONG_PURPOSE
    if host not in certificate.names and not any(is_loopback(host) and is_loopback(name) for name in certificate.names):
        return TlsFault.WRONG_NAME
    return None


def fault_of_client(
    certificate: SimCertificate | None, authorities: Sequence[str], server: SimProcess
) -> TlsFault | None:
    """Returns why the server does not believe its client; None if it does."""
    now_ns = server.clock.wall_ns(server.loop.now_ns)
    if certificate is None:
        return TlsFault.NO_CERTIFICATE
    if certificate.issuer not in authorities:
        return TlsFault.REFUSED_AUTHORITY
    if not certificate.not_before_ns <= now_ns <= certificate.not_after_ns:
        return TlsFault.REFUSED_VALIDITY
    return None
