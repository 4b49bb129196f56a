"""The ports to certificates: of the server that gives them, and of the process that shows one.

They need no cryptography, so that simulated certificates stand behind them, too.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from rube.api import IssuedCertificate
from rube.trust.identity import Identity

DAY_S = 24 * 3600
BACKDATED_S = 3600
"""Certificates begin so long before they are made: the clocks of machines differ."""


class Requested(NamedTuple):
    """A request for a certificate that its key has signed."""

    identity: Identity
    key_hash: bytes
    """The SHA-256 of the public key."""
    csr: bytes


class Shown(NamedTuple):
    """A certificate of the cluster, which may have lapsed."""

    identity: Identity
    key_hash: bytes
    begin_ns: int
    end_ns: int


class Signer(Protocol):
    """The CA's key, as a server uses it."""

    @property
    def domain(self) -> str:
        """The trust domain of its certificates."""
        ...

    def read_request(self, csr: bytes) -> Requested:
        """Raises InvalidArgumentError for a request that is malformed, not signed by its key, or of a weak key."""
        ...

    def read_certificate(self, certificate: bytes) -> Shown:
        """Raises UnauthenticatedError for one that no CA of this cluster has made, also no former one; validity is the
        caller's business."""
        ...

    def issue(self, requested: Requested, identity: Identity, *, begin_ns: int, end_ns: int) -> IssuedCertificate:
        """Returns a certificate of the present CA for the key of a request."""
        ...


class Keyring(Protocol):
    """The identity of one process, as it stands in its files."""

    def present(self) -> tuple[bytes, int, int]:
        """Returns the certificate in PEM, and when it begins and ends in nanoseconds. Raises InvalidArgumentError."""
        ...

    def request(self) -> bytes:
        """Returns a request for the same key and identity."""
        ...

    def install(self, issued: IssuedCertificate) -> None:
        """Replaces certificate and CAs; new connections use them."""
        ...
