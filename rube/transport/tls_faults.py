"""The reasons for which TLS refuses a connection, in words for the client: each with its remedy."""

from __future__ import annotations

from enum import Enum
from typing import Final

_GIVE_FILES: Final = "give this client its certificate with --tls DIR"


class TlsFault(Enum):
    """One reason, in words for the client of the connection."""

    NO_CERTIFICATE = f"the server asks for a client's certificate, and this client has none: {_GIVE_FILES}"
    REFUSED_AUTHORITY = (
        "the server does not know the CA that made this client's certificate: take one of the server's cluster, "
        "made by its `rube init`"
    )
    REFUSED_VALIDITY = (
        "by the server's clock this client's certificate has expired or is not valid yet: renew the certificate, or "
        "set the clock that is wrong"
    )
    REFUSED = (
        "the server ended the connection after the handshake: it asks for a client's certificate of its own CA, valid "
        f"by its clock: {_GIVE_FILES}"
    )
    UNKNOWN_AUTHORITY = (
        "the server's certificate is not of the CA that this client trusts: is this the right server? If so, take the "
        "ca.pem of its cluster"
    )
    EXPIRED = (
        "by this machine's clock the server's certificate has expired: renew it on the server, or set the clock here"
    )
    NOT_YET_VALID = (
        "by this machine's clock the server's certificate is not valid yet: set the clock here, or that of the machine "
        "that made the certificate"
    )
    WRONG_NAME = (
        "the server's certificate is not for the name or address that this client connects to: connect by one that is "
        "in it, or make one that has this one, too"
    )
    WRONG_PURPOSE = (
        "the server shows a certificate that is for clients alone: give the server one of `rube init` or `rube cert`"
    )
    PLAIN_SERVER = "the server speaks plain text: give it a certificate, or give this client no TLS files"
    TLS_SERVER = f"the server closed the connection at once, as one does that speaks TLS: {_GIVE_FILES}"
