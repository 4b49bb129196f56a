"""The probe that finds out why a connection with TLS does not come about.

gRPC's core words few of the reasons, and h2corn's alert as corrupted data. So a channel whose connection failed asks
here: a second handshake, by OpenSSL, which tells alerts and the results of verification apart.
"""

from __future__ import annotations

import socket  # noqa: TID251 (an adapter)
import ssl
from contextlib import suppress
from typing import Final

from rube.api.addresses import check_host_port
from rube.api.errors import InvalidArgumentError
from rube.host.network import ChannelTls
from rube.transport.tls import client_context
from rube.transport.tls_faults import TlsFault

# X509_V_ERR_* of OpenSSL, openssl/x509_vfy.h.
_BY_VERIFY_CODE: Final = {
    9: TlsFault.NOT_YET_VALID,
    10: TlsFault.EXPIRED,
    18: TlsFault.UNKNOWN_AUTHORITY,
    19: TlsFault.UNKNOWN_AUTHORITY,
    20: TlsFault.UNKNOWN_AUTHORITY,
    21: TlsFault.UNKNOWN_AUTHORITY,
    7: TlsFault.UNKNOWN_AUTHORITY,
    26: TlsFault.WRONG_PURPOSE,
    62: TlsFault.WRONG_NAME,
    64: TlsFault.WRONG_NAME,
}
_BY_ALERT: Final = {
    "CERTIFICATE_REQUIRED": TlsFault.NO_CERTIFICATE,
    "UNKNOWN_CA": TlsFault.REFUSED_AUTHORITY,
    "BAD_CERTIFICATE": TlsFault.REFUSED_AUTHORITY,
    "DECRYPT_ERROR": TlsFault.REFUSED_AUTHORITY,
    "CERTIFICATE_EXPIRED": TlsFault.REFUSED_VALIDITY,
}
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
_SETTINGS: Final = 4
_REFUSAL_S_MAX: Final = 0.5


def fault_of(error: ssl.SSLError) -> TlsFault | None:
    """Returns the reason that OpenSSL's error is; None for one that has no words here."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code)
    reason = error.reason or ""
    if reason == "WRONG_VERSION_NUMBER":
        return TlsFault.PLAIN_SERVER
    return next((fault for alert, fault in _BY_ALERT.items() if reason.endswith(f"ALERT_{alert}")), None)


def describe_fault(error: ssl.SSLError) -> str:
    """Returns the words for an error of a handshake."""
    fault = fault_of(error)
    if fault is not None:
        return fault.value
    return getattr(error, "verify_message", "") or error.reason or str(error)


def explain(target: str, tls: ChannelTls, timeout_s: float) -> str:
    """Returns why TLS refuses a connection, or "" if it would not now. Blocks for three times `timeout_s` at most.

    Raises OSError where the fault is not of TLS, such as a refused connection.
    """
    try:
        return _handshake(target, tls, timeout_s)
    except InvalidArgumentError as error:  # files that are half renewed, which the next attempt may find whole
        return error.message
    except ssl.SSLError as error:
        return describe_fault(error)
    except TimeoutError:
        if is_plain(target, timeout_s):
            return TlsFault.PLAIN_SERVER.value
        raise


def is_plain(target: str, timeout_s: float) -> bool:
    """Returns whether the server answers HTTP/2 without TLS."""
    with suppress(OSError), _connected(target, timeout_s) as raw:
        raw.sendall(_PREFACE)
        return raw.recv(9)[3:4] == bytes([_SETTINGS])
    return False


def _handshake(target: str, tls: ChannelTls, timeout_s: float) -> str:
    host, _ = check_host_port(target)
    context = client_context(tls)
    with (
        _connected(target, timeout_s) as raw,
        context.wrap_socket(raw, server_hostname=host.strip("[]"), suppress_ragged_eofs=False) as secured,
    ):
        # In TLS 1.3 the refusal comes after the client's handshake. What is sent before it is read may lose it.
        secured.settimeout(min(timeout_s, _REFUSAL_S_MAX))
        try:
            return "" if secured.recv(9) else TlsFault.REFUSED.value
        except TimeoutError:
            return ""
        except (ssl.SSLEOFError, ConnectionError):
            return TlsFault.REFUSED.value


def _connected(target: str, timeout_s: float) -> socket.socket:
    host, port = check_host_port(target)
    return socket.create_connection((host.strip("[]"), port), timeout_s)
