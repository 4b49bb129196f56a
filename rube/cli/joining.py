"""Joining a cluster by the one line that it has printed."""

from __future__ import annotations

import tempfile
import time  # noqa: TID251 (a command that blocks)
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rube.api import CertificateRequest, IssuedCertificate
from rube.api.addresses import check_host_port
from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.host import ChannelTls
from rube.host.network import directory_tls

if TYPE_CHECKING:
    from rube.trust import Identity

VERSION: Final = "rube1"
CALL_S_MAX: Final = 30.0
SERVERS_FILE: Final = "servers"
"""The address that an identity joined at, beside its files."""


@dataclass(frozen=True, slots=True)
class Line:
    """`rube1.CA.TOKEN.SECRET@HOST:PORT`."""

    authority: str
    """The SHA-256 of the CA's certificate, in hex."""
    token: str
    secret: str
    server: str

    @classmethod
    def parse(cls, text: str) -> Line:
        """Raises InvalidArgumentError."""
        words, at, server = text.strip().partition("@")
        parts = words.split(".")
        if not at or len(parts) != 4 or not all(parts):
            raise InvalidArgumentError(
                f"{_hidden(text)} is no line to join by: it is {VERSION}.CA.TOKEN.SECRET@HOST:PORT, as 'rube init' and "
                "'rube token create' print it"
            )
        version, authority, token, secret = parts
        if version != VERSION:
            raise InvalidArgumentError(f"the line begins with {version!r}, and this Rube knows {VERSION}: upgrade it")
        if len(authority) != 64 or set(authority) - set("0123456789abcdef"):
            raise InvalidArgumentError("the CA's hash in the line is not 64 hex digits: copy the whole line")
        check_host_port(server)
        return cls(authority, token, secret, server)

    def __str__(self) -> str:
        return f"{VERSION}.{self.authority}.{self.token}.{self.secret}@{self.server}"


def join(line: Line, identity: Identity, directory: Path) -> None:
    """Joins: the directory has ca.pem, cert.pem, key.pem and `servers` then. Nothing is sent to a server that does not
    show the line's CA; the key is made here. Raises a RubeError."""
    from rube.store.engines.private_files import make_directory
    from rube.transport.pinned import pinned_authority
    from rube.transport.unary import UnaryConnection
    from rube.trust.keys import KEY_MODE, Key, write_file
    from rube.trust.requests import make_request

    files = directory_tls(str(directory))
    if Path(files.cert).exists():
        raise FailedPreconditionError(
            f"there is a certificate in {directory} already: remove the directory to join anew, or choose another one"
        )
    authority = pinned_authority(line.server, line.authority)
    make_directory(directory)
    if not Path(files.key).exists():
        write_file(Path(files.key), Key.make().pem(), KEY_MODE)
    csr = make_request(Key.load(Path(files.key)), identity)
    request = CertificateRequest(token=line.token, secret=line.secret, csr=csr)
    with tempfile.NamedTemporaryFile(suffix=".pem") as pinned:
        pinned.write(authority)
        pinned.flush()
        end_s = time.monotonic() + CALL_S_MAX
        connection = UnaryConnection(line.server, end_s, ChannelTls(ca=pinned.name))
        try:
            answer = connection.call("/auth.Certificates/Join", request.SerializeToString(), end_s)
        finally:
            connection.close()
    issued = IssuedCertificate.FromString(answer)
    write_file(directory / SERVERS_FILE, f"{line.server}\n".encode(), 0o644)
    write_file(Path(files.ca), issued.authorities, 0o644)
    write_file(Path(files.cert), issued.certificate, 0o644)


def joined_servers(directory: Path) -> tuple[str, ...]:
    """Returns the addresses that the identity in a directory joined at; none if it has not joined."""
    try:
        return tuple((directory / SERVERS_FILE).read_text().split())
    except OSError:
        return ()


def _hidden(text: str) -> str:
    """Returns the beginning of a text that may hold a secret."""
    return repr(text[:12] + "…") if len(text) > 12 else repr(text)
