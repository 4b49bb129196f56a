"""The identity of a call's client, from what the servers give of its certificate."""

from __future__ import annotations

from typing import Any

import pytest

from rube.transport.peers import Peer, peer

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


class Context:
    def __init__(self, subject: str, *names: str) -> None:
        self._found: dict[str, Any] = {
            "x509_pem_cert": (PEM,),
            "x509_subject": (subject.encode(),),
            "x509_subject_alternative_name": tuple(name.encode() for name in names),
        }

    def auth_context(self) -> dict[str, Any]:
        return self._found

    def peer(self) -> str:
        return "ipv4:192.0.2.7:4711"


def test_the_address_has_no_prefix() -> None:
    assert peer(Context("CN=x")).address == "192.0.2.7:4711"


@pytest.mark.parametrize(
    ("subject", "groups"),
    [
        ("O=ops,O=admins,CN=ada", ("admins", "ops")),
        ("CN=ada", ()),
        ("O=a\\,O=admins,CN=x", ("a,O=admins",)),  # an escaped comma begins no attribute
        ("O=a\\2CO\\3Dadmins,CN=x", ("a,O=admins",)),
        ("CN=O\\=admins", ()),
        ("OU=admins,CN=x", ()),
        ("CN=x+O=ops", ("ops",)),
        ("O=B\\C3\\BCro", ("Büro",)),
        ("O=Büro", ("Büro",)),
        ("2.5.4.10=ops", ("ops",)),
    ],
)
def test_groups_are_the_subjects_organizations(subject: str, groups: tuple[str, ...]) -> None:
    assert peer(Context(subject)).groups == groups


@pytest.mark.parametrize(
    ("names", "uri"),
    [
        (("spiffe://rube/user/ada",), "spiffe://rube/user/ada"),
        (("localhost", "spiffe://rube/member/s1", "127.0.0.1"), "spiffe://rube/member/s1"),
        (("https://rube/user/ada",), ""),
        (("spiffe://rube/user/ada", "spiffe://rube/user/bob"), ""),  # two are none
        ((), ""),
    ],
)
def test_the_identity_is_the_one_spiffe_uri(names: tuple[str, ...], uri: str) -> None:
    assert peer(Context("CN=x", *names)).uri == uri


@pytest.mark.parametrize("uri", ["spiffe://rube/ada", "spiffe://rube/user/ada/more", "spiffe://rube//ada", ""])
def test_an_identity_of_another_form_has_no_kind_and_no_name(uri: str) -> None:
    found = Peer(uri, (), "", "")
    assert (found.domain, found.kind, found.name) == ("", "", "")
