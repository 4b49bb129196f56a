"""Callers of another trust domain under the same CA."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from rube.cli.apiserver import rights_config
from rube.host import ChannelTls
from rube.trust import Authority, Identity, Key

YEAR_NS = 365 * 24 * 3600 * 10**9


class Call:
    """A call over a connection with that certificate."""

    def __init__(self, uri: str, pem: bytes) -> None:
        self._found = {"x509_subject_alternative_name": [uri.encode()], "x509_pem_cert": [pem]}

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._found

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


@pytest.mark.parametrize(
    ("own", "caller", "subject"), [("a.example", "a.example", "member/x"), ("b", "a", "anonymous")]
)
def test_a_caller_is_of_the_domain_of_the_servers_certificate(
    tmp_path: Path, own: str, caller: str, subject: str
) -> None:
    authority, key = Authority.make("shared", YEAR_NS), Key.make().private.public_key()

    def issue(domain: str) -> bytes:
        identity = Identity(kind="member", name="x", domain=domain)
        return authority.issue(identity, key, begin_ns=YEAR_NS, end_ns=2 * YEAR_NS)

    cert = tmp_path / "cert.pem"
    cert.write_bytes(issue(own))
    config = rights_config("deny", ChannelTls(cert=str(cert)))
    call = Call(f"spiffe://{caller}/member/x", issue(caller))
    assert str(config.identified(cast(Any, call)).subject) == subject
