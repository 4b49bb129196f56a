"""A client's certificate in the shape of gRPC's authentication context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

IDENTITY_KEY: Final = "x509_subject_alternative_name"
CERTIFICATES_MAX = 4096
"""As many certificates are kept parsed."""
TLS_1_3: Final = 0x0304


NO_CERTIFICATE: Final[Mapping[str, Sequence[bytes]]] = {"transport_security_type": (b"ssl",)}
"""The context of a client that has shown none."""


@lru_cache(maxsize=CERTIFICATES_MAX)
def auth_context(pem: str, subject: str) -> Mapping[str, Sequence[bytes]]:
    """Returns what grpc.aio's server gives for this certificate: under the keys that all servers of Rube have."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(pem.encode())
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        names: list[bytes] = []
    else:
        names = [str(name.value).encode() for name in extension.value]
    return {
        "transport_security_type": (b"ssl",),
        "x509_subject": (subject.encode(),),
        "x509_pem_cert": (pem.encode(),),
        IDENTITY_KEY: tuple(names),
    }
