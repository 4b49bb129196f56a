"""The listeners that other machines reach."""

from __future__ import annotations

import pytest

from rube.cli.apiserver import member_addresses
from rube.cli.exposure import exposed, warn_of_exposure
from rube.store.urls import parse_store_url

CASES = {
    "127.0.0.1:7823": False,
    "127.9.9.9:1": False,
    "localhost:1": False,
    "[::1]:7823": False,
    "[::ffff:127.0.0.1]:1": False,
    "unix:/run/rube.sock": False,
    "0.0.0.0:7823": True,
    "[::]:7823": True,
    "10.0.0.1:7823": True,
    "[fe80::1%eth0]:1": True,
    "localhost.example:1": True,
    "box:7823": True,
}


@pytest.mark.parametrize("address", CASES)
def test_an_address(address: str) -> None:
    assert bool(exposed([address])) == CASES[address]


def test_one_line_names_all_that_are_reached(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_exposure(["127.0.0.1:1", "0.0.0.0:2", "box:3"])
    warn_of_exposure(["127.0.0.1:1"])
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("every caller that reaches 0.0.0.0:2, box:3 is root on every node")


def test_a_members_port_counts() -> None:
    url = "raft+sqlite:///tmp/a.db?name=a&members=a=10.0.0.1:7824,b=10.0.0.2:7824,c=10.0.0.3:7824"
    assert member_addresses(parse_store_url(url)) == ["10.0.0.1:7824"]
    listening = url.replace("name=a", "name=a&listen=127.0.0.1:9")
    assert member_addresses(parse_store_url(listening)) == ["127.0.0.1:9"]
    assert member_addresses(parse_store_url("sqlite:///tmp/a.db")) == []
