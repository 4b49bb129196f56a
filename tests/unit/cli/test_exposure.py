"""The listeners that other machines reach."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

from rube.api.errors import FailedPreconditionError, RubeError, UnavailableError
from rube.cli.apiserver import member_addresses
from rube.cli.exposure import exposed, warn_of_exposure
from rube.host import Host
from rube.server.relay import RelayConfig
from rube.store.urls import parse_store_url
from tests.conformance.transport.transport_identities import RealIdentities, client_tls

relay_command: Any = importlib.import_module("rube.cli.relay")

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


def run_relay(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Host:
    """Returns the host of the relay that the command makes. Raises the error that it would end with."""
    found: list[Host] = []

    def make(host: Host, config: RelayConfig) -> NoReturn:
        found.append(host)
        raise UnavailableError("it is made")

    def run(name: str, main: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *, log_level: str) -> int:
        with suppress(UnavailableError):
            asyncio.run(main(asyncio.Event()))
        return 0

    monkeypatch.setattr(relay_command, "Relay", make)
    monkeypatch.setattr(relay_command, "run_daemon", run)
    result = CliRunner().invoke(relay_command.relay, ["--upstream", "127.0.0.1:1", *arguments])
    if isinstance(result.exception, RubeError):
        raise result.exception
    assert result.exit_code == 0, result.output
    (host,) = found
    return host


def test_a_relay_in_plain_text_is_refused_where_others_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FailedPreconditionError, match="other machines reach"):
        run_relay(monkeypatch, "--listen", "0.0.0.0:0")
    assert run_relay(monkeypatch, "--listen", "0.0.0.0:0", "--insecure").network.tls is None
    assert run_relay(monkeypatch, "--listen", "127.0.0.1:0").network.tls is None


def test_a_relay_has_the_identity_of_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tls = client_tls(RealIdentities(tmp_path))
    files = ["--tls-ca", tls.ca, "--tls-cert", tls.cert, "--tls-key", tls.key]
    assert run_relay(monkeypatch, "--listen", "0.0.0.0:0", *files).network.tls == tls
