"""The configuration of what a server gives certificates by."""

from __future__ import annotations

from dataclasses import dataclass

from rube.trust.ports import Signer


def real_begin_of(pem: bytes) -> int:
    """Returns when a certificate begins, in nanoseconds; loads the package `cryptography` when it is first asked."""
    from rube.trust.ca_directory import begin_of

    return begin_of(pem)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatesConfig:
    """The certificates that a server gives."""

    signer: Signer
    days: float = 7.0
    lapsed_days_max: float = 180.0
    """A node's certificate that has lapsed for longer is not renewed: the node joins again."""
