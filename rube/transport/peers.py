"""The identity of a call's client, from its certificate: alike on every network."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

SCHEME: Final = "spiffe://"
_SECURITY: Final = "transport_security_type"
_NAMES, _SUBJECT, _PEM = "x509_subject_alternative_name", "x509_subject", "x509_pem_cert"
CERTIFICATES_MAX: Final = 4096
CONNECTIONS_MAX: Final = 4096
"""Certificates, and connections without one, that are remembered."""
# An attribute of RFC 4514: its type, and its value with escapes. Quoted values are of the RFC before it.
_ATTRIBUTE: Final = re.compile(r"([A-Za-z0-9.]+)=((?:\\.|[^\\,+])*)(?:[,+]|$)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\([0-9A-Fa-f]{2})|\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Peer:
    """A call's client."""

    uri: str
    """Its identity, such as `spiffe://rube/user/ada`; "" for a caller without a certificate (plain text)."""
    groups: tuple[str, ...]
    """The organizations of the certificate's subject, sorted."""
    fingerprint: str
    """The certificate's SHA-256, in hex; "" without one."""
    address: str
    """`host:port` as the server sees it, or `unix:`."""

    @property
    def domain(self) -> str:
        """The trust domain: the cluster."""
        return self._part(0)

    @property
    def kind(self) -> str:
        """`user`, `node`, `controller` or `member`; "" for an identity of another form."""
        return self._part(1)

    @property
    def name(self) -> str:
        return self._part(2)

    def _part(self, index: int) -> str:
        parts = self.uri.removeprefix(SCHEME).split("/")
        return parts[index] if len(parts) == 3 and all(parts) else ""


def peer(context: Any) -> Peer:
    """Returns the client of the call of a servicer context."""
    found: Mapping[str, Sequence[bytes]] = context.auth_context() or {}
    pem = found.get(_PEM)
    if not pem:
        return _plain(context.peer())
    names, subject = tuple(found.get(_NAMES, ())), found.get(_SUBJECT, (b"",))[0]
    return Peer(*_certified(pem[0], names, subject), _address(context.peer()))


@lru_cache(maxsize=CONNECTIONS_MAX)
def _plain(name: str) -> Peer:
    return Peer("", (), "", _address(name))


def _address(name: str) -> str:
    """Returns the address in gRPC's name of a peer."""
    return name[5:] if name.startswith(("ipv4:", "ipv6:")) else name


def certificate_of(context: Any) -> bytes:
    """Returns the certificate of a call's client in PEM; empty without one."""
    found: Mapping[str, Sequence[bytes]] = context.auth_context() or {}
    return found.get(_PEM, (b"",))[0]


def is_unproven(context: Any) -> bool:
    """Returns whether a call comes by TLS from a client that has shown no certificate."""
    found = context.auth_context() or {}
    return bool(found.get(_SECURITY)) and not found.get(_PEM)


@lru_cache(maxsize=CERTIFICATES_MAX)
def _certified(pem: bytes, names: tuple[bytes, ...], subject: bytes) -> tuple[str, tuple[str, ...], str]:
    uris = [name.decode() for name in names if name.startswith(SCHEME.encode())]
    # Two identities in one certificate are none: SPIFFE's X.509-SVID, section 2.
    uri = uris[0] if len(uris) == 1 else ""
    return uri, tuple(sorted(set(_organizations(subject.decode())))), fingerprint(pem)


def fingerprint(pem: bytes) -> str:
    """Returns the SHA-256 of the first certificate, in hex; "" for bytes that hold none."""
    found = re.search(rb"-----BEGIN CERTIFICATE-----(.+?)-----END", pem, re.DOTALL)
    try:
        return hashlib.sha256(base64.b64decode(found[1])).hexdigest() if found else ""
    except binascii.Error:
        return ""


def _organizations(subject: str) -> list[str]:
    return [_unescaped(value) for kind, value in _ATTRIBUTE.findall(subject) if kind in ("O", "2.5.4.10")]


def _unescaped(value: str) -> str:
    def char(found: re.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else found[2]

    # Escaped bytes are of UTF-8: as latin-1, each is a character until all are there.
    return _ESCAPED.sub(char, value.encode().decode("latin-1")).encode("latin-1").decode(errors="replace")
