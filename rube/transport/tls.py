"""TLS files for gRPC."""

from __future__ import annotations

from pathlib import Path

import grpc

from rube.api.errors import InvalidArgumentError
from rube.host import ChannelTls


def channel_credentials(tls: ChannelTls) -> grpc.ChannelCredentials:
    """Returns the credentials. Raises InvalidArgumentError that names the file. Errors inside a file show at the first
    connection."""
    if bool(tls.cert) != bool(tls.key):
        raise InvalidArgumentError("TLS needs cert and key together, or neither")
    return grpc.ssl_channel_credentials(
        root_certificates=_read("ca", tls.ca),
        private_key=_read("key", tls.key),
        certificate_chain=_read("cert", tls.cert),
    )


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
