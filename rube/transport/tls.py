"""The files of TLS: read, checked and made into what gRPC's core and Python's ssl take.

Imports no gRPC on its own: the blocking client of ructl uses it, too.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rube.api.errors import InvalidArgumentError
from rube.host.network import ChannelTls, ServerTls

if TYPE_CHECKING:
    import grpc

Stamp = tuple[tuple[int, int, int], ...]
"""A state of files: it differs after each change."""


def stamp(paths: Iterable[str]) -> Stamp:
    """Returns the state of these files; one that is missing has a state, too."""
    return tuple(_stamp(path) for path in paths if path)


def channel_paths(tls: ChannelTls) -> tuple[str, ...]:
    return (tls.ca, tls.cert, tls.key)


def server_paths(tls: ServerTls) -> tuple[str, ...]:
    return (tls.client_ca, tls.cert, tls.key)


def channel_credentials(tls: ChannelTls) -> grpc.ChannelCredentials:
    """Returns the credentials. Raises InvalidArgumentError that names the file."""
    import grpc

    check_channel_tls(tls)
    return grpc.ssl_channel_credentials(
        root_certificates=_read("ca", tls.ca),
        private_key=_read("key", tls.key),
        certificate_chain=_read("cert", tls.cert),
    )


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Returns credentials that read the files again for the next connection after a change. Raises
    InvalidArgumentError."""
    import grpc

    check_server_tls(tls)
    seen = stamp(server_paths(tls))

    def configuration() -> grpc.ServerCertificateConfiguration:
        key, cert = _read("key", tls.key), _read("cert", tls.cert)
        assert key is not None
        assert cert is not None
        return grpc.ssl_server_certificate_configuration([(key, cert)], _read("client_ca", tls.client_ca))

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        now = stamp(server_paths(tls))
        if now == seen:
            return None
        check_server_tls(tls)  # while half of a pair is new, connections get the old one
        seen = now
        return configuration()

    fetch: Any = changed  # its None means that nothing has changed, which the stubs don't know
    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, require_client_authentication=True)


def client_context(tls: ChannelTls) -> ssl.SSLContext:
    """Returns a context for connections of HTTP/2. Raises InvalidArgumentError."""
    check_channel_tls(tls)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    if tls.ca:
        context.load_verify_locations(tls.ca)
    else:
        context.load_default_certs()
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key)
    return context


def check_channel_tls(tls: ChannelTls) -> None:
    """Raises InvalidArgumentError for files that are missing, do not parse or do not belong together."""
    if bool(tls.cert) != bool(tls.key):
        raise InvalidArgumentError("TLS needs cert and key together, or neither")
    if tls.ca:
        _check_authorities("ca", tls.ca)
    if tls.cert:
        _check_pair(tls.cert, tls.key)


def check_server_tls(tls: ServerTls) -> None:
    """Raises InvalidArgumentError for files that are missing, do not parse or do not belong together."""
    for name in ("cert", "key", "client_ca"):
        if not getattr(tls, name):
            raise InvalidArgumentError(f"TLS of a server needs {name}: mutual TLS has no part that may be left out")
    _check_authorities("client_ca", tls.client_ca)
    _check_pair(tls.cert, tls.key)


def _check_authorities(name: str, path: str) -> None:
    _read(name, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise InvalidArgumentError(f"TLS file {name}={path} holds no certificate that can be read: {error}") from error


def _check_pair(cert: str, key: str) -> None:
    _read("cert", cert)
    _read("key", key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        why = "the key is not the certificate's" if error.reason == "KEY_VALUES_MISMATCH" else str(error)
        raise InvalidArgumentError(f"TLS files cert={cert} and key={key} cannot be used together: {why}") from error


def _no_password() -> str:
    raise InvalidArgumentError("the TLS key is encrypted: give one that is not (openssl pkey -in KEY -out PLAIN)")


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(name: str, path: str) -> bytes | None:
    if not path:
        return None
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"TLS file {name}={path} cannot be read: {error.strerror}") from error
    if b"-----BEGIN " not in data:
        raise InvalidArgumentError(f"TLS file {name}={path} is no PEM file: it has no line -----BEGIN …")
    return data
