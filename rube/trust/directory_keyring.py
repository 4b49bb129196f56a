"""The identity of a process as the files of a directory: `ca.pem`, `cert.pem` and `key.pem`."""

from __future__ import annotations

from pathlib import Path

from rube.api import IssuedCertificate
from rube.api.errors import InvalidArgumentError
from rube.api.times import NS_PER_S
from rube.host import ChannelTls
from rube.trust.authority import load_certificate
from rube.trust.keys import Key, write_file
from rube.trust.names import identity_of
from rube.trust.requests import make_request


class DirectoryKeyring:
    """A Keyring of files, wherever they are."""

    def __init__(self, tls: ChannelTls) -> None:
        self._tls = tls

    def present(self) -> tuple[bytes, int, int]:
        pem = self._certificate()
        found = load_certificate(pem)
        begin, end = found.not_valid_before_utc, found.not_valid_after_utc
        return pem, int(begin.timestamp()) * NS_PER_S, int(end.timestamp()) * NS_PER_S

    def request(self) -> bytes:
        identity = identity_of(load_certificate(self._certificate()))
        return make_request(Key.load(Path(self._tls.key)), identity)

    def install(self, issued: IssuedCertificate) -> None:
        """The CAs first: a certificate of a new CA comes with those that know it."""
        write_file(Path(self._tls.ca), issued.authorities, 0o644)
        write_file(Path(self._tls.cert), issued.certificate, 0o644)

    def _certificate(self) -> bytes:
        try:
            return Path(self._tls.cert).read_bytes()
        except OSError as error:
            raise InvalidArgumentError(f"cannot read the certificate {self._tls.cert}: {error.strerror}") from error
