"""Requests for certificates (PKCS #10, RFC 2986)."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from rube.api.errors import InvalidArgumentError
from rube.trust.identity import Identity
from rube.trust.keys import Key
from rube.trust.names import alternative_names, identity_of
from rube.trust.ports import Requested

REQUEST_BYTES_MAX = 16 * 1024
_CURVES = (ec.SECP256R1, ec.SECP384R1)


def make_request(key: Key, identity: Identity) -> bytes:
    """Returns a request in PEM, signed by the key."""
    built = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name[:64])]))
        .add_extension(x509.SubjectAlternativeName(alternative_names(identity)), critical=False)
    )
    return built.sign(key.private, hashes.SHA256()).public_bytes(Encoding.PEM)


def read_request(csr: bytes) -> Requested:
    """Raises InvalidArgumentError for a request that is malformed, not signed by its key, or of a weak key."""
    return Requested(identity_of(load_request(csr)), key_hash(public_key(csr)), csr)


def public_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    """Returns the key that a request is for. Raises InvalidArgumentError."""
    found = load_request(csr).public_key()
    if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, _CURVES):
        raise InvalidArgumentError(
            "the request for a certificate is for a weak or unknown kind of key: make an ECDSA key on P-256 or P-384",
            field="csr",
        )
    return found


def load_request(csr: bytes) -> x509.CertificateSigningRequest:
    """Raises InvalidArgumentError."""
    if len(csr) > REQUEST_BYTES_MAX:
        raise InvalidArgumentError(
            f"the request for a certificate has more than {REQUEST_BYTES_MAX} bytes", field="csr"
        )
    try:
        found = x509.load_pem_x509_csr(csr)
        is_signed = found.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise InvalidArgumentError(
            f"these bytes are no request for a certificate in PEM: {error}", field="csr"
        ) from error
    if not is_signed:
        raise InvalidArgumentError("the request for a certificate is not signed by its own key", field="csr")
    return found


def key_hash(public: object) -> bytes:
    """Returns the SHA-256 of a public key (its SubjectPublicKeyInfo)."""
    encoded: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return hashlib.sha256(encoded).digest()
