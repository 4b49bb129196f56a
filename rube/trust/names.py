"""The names in certificates and in requests for them: an identity as a URI, host names, addresses, groups."""

from __future__ import annotations

import ipaddress

from cryptography import x509
from cryptography.x509.oid import NameOID

from rube.api.errors import InvalidArgumentError
from rube.trust.identity import Identity

SCHEME = "spiffe://"


def alternative_names(identity: Identity) -> list[x509.GeneralName]:
    """Returns the names for the extension subjectAltName. Raises InvalidArgumentError."""
    return [x509.UniformResourceIdentifier(identity.uri), *(_name(name) for name in identity.names)]


def uri_of(holder: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Returns the identity's URI; "" for none, or for several."""
    try:
        names = holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    uris = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(SCHEME)]
    return uris[0] if len(uris) == 1 else ""


def identity_of(holder: x509.Certificate | x509.CertificateSigningRequest) -> Identity:
    """Raises InvalidArgumentError for one without an identity of Rube's form."""
    parts = uri_of(holder).removeprefix(SCHEME).split("/")
    if len(parts) != 3 or not all(parts):
        raise InvalidArgumentError(
            "the request or certificate names no identity: it has one URI, spiffe://DOMAIN/KIND/NAME", field="csr"
        )
    found = holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = [
        *found.get_values_for_type(x509.DNSName),
        *(str(address) for address in found.get_values_for_type(x509.IPAddress)),
    ]
    groups = [str(each.value) for each in holder.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return Identity(kind=parts[1], name=parts[2], groups=tuple(groups), names=tuple(names), domain=parts[0])


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise InvalidArgumentError(f"{name!r} is no host name and no IP address: {error}") from error
