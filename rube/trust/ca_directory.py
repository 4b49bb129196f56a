"""A CA as files: `ca.pem` and `ca.key` of the present one, and what its rotations leave.

`ca.pem` holds the CAs that the cluster trusts, the present one first. `links.pem` holds certificates by which each CA
vouches for the next: who was away during rotations follows them. `former.pem` holds the CAs that are trusted no more;
lapsed certificates of theirs still prove who asks for a new one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from rube.api import IssuedCertificate
from rube.api.errors import FailedPreconditionError, InvalidArgumentError, UnauthenticatedError
from rube.api.times import NS_PER_S
from rube.trust.authority import AUTHORITY_DAYS, Authority, load_certificate
from rube.trust.identity import Identity
from rube.trust.keys import KEY_MODE, Key, write_file
from rube.trust.names import identity_of
from rube.trust.ports import Requested, Shown
from rube.trust.requests import key_hash, public_key, read_request

CA_FILE: Final = "ca.pem"
CA_KEY: Final = "ca.key"
_LINKS: Final = "links.pem"
_FORMER: Final = "former.pem"


class CaDirectory:
    """The Signer of a directory; it reads the files at each use, so that a rotation needs no restart."""

    def __init__(self, directory: Path, domain: str) -> None:
        """Raises InvalidArgumentError for files that cannot be used."""
        self.directory = directory
        self._domain = domain
        self.authority()

    @property
    def domain(self) -> str:
        return self._domain

    def authority(self) -> Authority:
        """Returns the present CA. Raises InvalidArgumentError."""
        try:
            pem = (self.directory / CA_FILE).read_bytes()
        except OSError as error:
            raise InvalidArgumentError(
                f"cannot read {self.directory / CA_FILE} ({error.strerror}): 'rube init' makes a CA"
            ) from error
        return Authority.load(pem, Key.load(self.directory / CA_KEY))

    def trusted(self) -> bytes:
        """Returns the CAs that the cluster trusts, in PEM."""
        return (self.directory / CA_FILE).read_bytes()

    def chain(self) -> bytes:
        """Returns what follows a leaf certificate: links to former CAs, and the trusted CAs: a joining machine knows
        one by its hash."""
        return _read(self.directory / _LINKS) + self.trusted()

    def rotate(self, name: str, now_ns: int, days: float = AUTHORITY_DAYS) -> Authority:
        """Makes the next CA, which signs from now on; the ones before stay trusted. Raises InvalidArgumentError."""
        before = self.authority()
        after = Authority.make(name, now_ns, days)
        links = before.link(after) + _read(self.directory / _LINKS)
        trusted = after.pem() + self.trusted()
        # The links first: until the key is there, the CA before is the present one.
        write_file(self.directory / _LINKS, links, 0o644)
        write_file(self.directory / CA_KEY, after.key.pem(), KEY_MODE)
        write_file(self.directory / CA_FILE, trusted, 0o644)
        return after

    def retire(self) -> int:
        """Trusts the present CA alone from now on; returns how many were trusted beside it. Raises
        FailedPreconditionError if there is none."""
        present, *others = x509.load_pem_x509_certificates(self.trusted())
        if not others:
            raise FailedPreconditionError(f"{self.directory} has one CA: make the next one with --rotate first")
        former = b"".join(each.public_bytes(Encoding.PEM) for each in others)
        write_file(self.directory / _FORMER, former + _read(self.directory / _FORMER), 0o644)
        write_file(self.directory / CA_FILE, present.public_bytes(Encoding.PEM), 0o644)
        return len(others)

    def read_request(self, csr: bytes) -> Requested:
        return read_request(csr)

    def read_certificate(self, certificate: bytes) -> Shown:
        try:
            found = load_certificate(certificate)
            identity = identity_of(found)
        except InvalidArgumentError as error:
            raise UnauthenticatedError(f"the certificate cannot be read: {error.message}") from error
        authorities = x509.load_pem_x509_certificates(self.trusted() + _read(self.directory / _FORMER))
        if not any(_made_by(found, each) for each in authorities):
            raise UnauthenticatedError("the certificate is of another cluster: no CA of this one has made it")
        begin, end = found.not_valid_before_utc, found.not_valid_after_utc
        return Shown(
            identity,
            key_hash(found.public_key()),
            int(begin.timestamp()) * NS_PER_S,
            int(end.timestamp()) * NS_PER_S,
        )

    def is_current(self, certificate: bytes, end_ns: int, *, now_ns: int) -> bool:
        """Returns whether a certificate is of the present CA, with all that joining machines look for, and valid."""
        return end_ns > now_ns and certificate.endswith(self.chain())

    def issue(self, requested: Requested, identity: Identity, *, begin_ns: int, end_ns: int) -> IssuedCertificate:
        leaf = self.authority().issue(identity, public_key(requested.csr), begin_ns=begin_ns, end_ns=end_ns)
        return IssuedCertificate(certificate=leaf + self.chain(), authorities=self.trusted())


def begin_of(pem: bytes) -> int:
    """Returns when a certificate begins, in nanoseconds. Raises InvalidArgumentError."""
    return int(load_certificate(pem).not_valid_before_utc.timestamp()) * NS_PER_S


def _made_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
