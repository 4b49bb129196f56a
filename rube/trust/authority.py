"""The certificate authority of a cluster."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rube.api.errors import InvalidArgumentError
from rube.api.times import NS_PER_S
from rube.trust.identity import Identity
from rube.trust.keys import Key
from rube.trust.names import SCHEME, alternative_names, uri_of
from rube.trust.ports import BACKDATED_S, DAY_S

AUTHORITY_DAYS = 3650
_COMMON_NAME_CHARS_MAX = 64


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @classmethod
    def make(cls, name: str, now_ns: int, days: float = AUTHORITY_DAYS) -> Authority:
        """Makes a CA. It signs leaf certificates, and the CA that comes after it (`link`)."""
        key = Key.make()
        public = key.private.public_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_CHARS_MAX])])
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_at(now_ns, -BACKDATED_S))
            .not_valid_after(_at(now_ns, days * DAY_S))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        return cls(built.sign(key.private, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: bytes, key: Key) -> Authority:
        """Raises InvalidArgumentError if the key is not the certificate's."""
        found = load_certificate(certificate)
        if found.public_key() != key.private.public_key():
            raise InvalidArgumentError("the key is not that of the CA's certificate")
        return cls(found, key)

    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def hash(self) -> str:
        """Returns what a joining machine knows the CA by."""
        return authority_hash(self.certificate)

    def issue(self, identity: Identity, public: EllipticCurvePublicKey, *, begin_ns: int, end_ns: int) -> bytes:
        """Returns a certificate in PEM for the owner of the public key."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in identity.groups]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, identity.name[:_COMMON_NAME_CHARS_MAX]))
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if identity.names else [])]
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.private.public_key())
        built = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(attributes))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_at(begin_ns))
            .not_valid_after(_at(end_ns))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternative_names(identity)), critical=False)
            .add_extension(identifier, critical=False)
        )
        return built.sign(self.key.private, hashes.SHA256()).public_bytes(Encoding.PEM)

    def link(self, successor: Authority) -> bytes:
        """Returns the successor's certificate in PEM, made by this CA: who trusts this one alone believes the other by
        it. It ends with the successor's own."""
        public = successor.key.private.public_key()
        built = (
            x509.CertificateBuilder()
            .subject_name(successor.certificate.subject)
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(successor.certificate.not_valid_before_utc)
            .not_valid_after(successor.certificate.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.private.public_key()), critical=False
            )
        )
        return built.sign(self.key.private, hashes.SHA256()).public_bytes(Encoding.PEM)


def load_certificate(pem: bytes) -> x509.Certificate:
    """Raises InvalidArgumentError."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise InvalidArgumentError(f"these bytes are no certificate in PEM: {error}") from error


def domain_of(pem: bytes) -> str:
    """Returns the trust domain of a certificate; "" for one that names none. Raises InvalidArgumentError."""
    return uri_of(load_certificate(pem)).removeprefix(SCHEME).partition("/")[0]


def authority_hash(certificate: x509.Certificate) -> str:
    """Returns the SHA-256 of the certificate, in hex."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _at(ns: int, plus_s: float = 0.0) -> datetime.datetime:
    """Returns the time with whole seconds, as certificates have it."""
    return datetime.datetime.fromtimestamp(ns // NS_PER_S + int(plus_s), datetime.UTC)
