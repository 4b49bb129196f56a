"""The CA of a server that is known by its hash alone: taken from the handshake, before anything is sent."""

from __future__ import annotations

import hashlib
import socket  # noqa: TID251 (an adapter)
import ssl
from typing import Any, Final

from rube.api.addresses import check_host_port
from rube.api.errors import NotSentError, UnauthenticatedError
from rube.transport.tls_probe import describe_fault, is_plain

CONNECT_S_MAX: Final = 10.0


def pinned_authority(target: str, sha256: str) -> bytes:
    """Returns the CA with that SHA-256 (in hex), in PEM, out of those that the server shows. Whether the server has the
    right to show it is for the next connection to verify, by this CA.

    Raises NotSentError without a connection, UnauthenticatedError where the server does not show that CA.
    """
    host, port = check_host_port(target)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host.strip("[]"), port), CONNECT_S_MAX) as raw,
            context.wrap_socket(raw, server_hostname=host.strip("[]")) as secured,
        ):
            shown = _shown(secured)
    except ssl.SSLError as error:
        raise NotSentError(f"no TLS with {target}, and nothing was sent: {describe_fault(error)}") from error
    except OSError as error:
        why = error.strerror or str(error)
        if isinstance(error, TimeoutError) and is_plain(target, CONNECT_S_MAX):
            why = "it speaks plain text: start it with --tls DIR --ca DIR"
        raise NotSentError(f"there is no connection to {target}: {why}") from error
    for certificate in shown:
        if hashlib.sha256(certificate).hexdigest() == sha256:
            return ssl.DER_cert_to_PEM_cert(certificate).encode()
    raise UnauthenticatedError(
        f"{target} does not show the CA {sha256[:16]}… that the token names, so nothing was sent to it: it is another "
        "cluster's server, a machine between here and there, or a server that was not started with --ca"
    )


def _shown(secured: Any) -> list[bytes]:
    """Returns the certificates of the handshake. Python has a public method for it since 3.13."""
    if hasattr(secured, "get_unverified_chain"):
        chain: list[bytes] = secured.get_unverified_chain()
        return chain
    return [each.public_bytes(ssl._ssl.ENCODING_DER) for each in secured._sslobj.get_unverified_chain()]  # type: ignore[attr-defined]
