"""Every command of ructl connects with the TLS files that it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

from rube.api.errors import NotSentError
from rube.client import blocking
from rube.host import ChannelTls
from rube.transport import GrpcNetwork
from ructl.main import ructl
from tests.conformance.transport.transport_identities import RealIdentities, client_tls

COMMANDS = (
    "get -t Unit web",
    "list -t Unit",
    "describe -t Unit web",
    "watch -t Unit",
    "wait -t Unit web --for active",
    "history -t Unit web",
    "types list",
    "auth whoami",
    "auth can-i get Unit",
    "auth why user/ada get Unit",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_uses_the_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str) -> None:
    tls = client_tls(RealIdentities(tmp_path))
    used: list[ChannelTls | None] = []

    def connect(target: str, end_s: float, tls: ChannelTls | None = None) -> NoReturn:
        used.append(tls)
        raise NotSentError(f"there is no connection to {target}", why="none")

    def channel(network: GrpcNetwork, target: str, **given: Any) -> NoReturn:
        connect(target, 0.0, network.tls)

    monkeypatch.setattr(blocking, "UnaryConnection", connect)
    monkeypatch.setattr(GrpcNetwork, "channel", channel)
    arguments = ["--server", "127.0.0.1:1", "--timeout", "1s", "--tls", str(Path(tls.cert).parent), *command.split()]
    CliRunner().invoke(ructl, arguments)
    assert set(used) == {tls}
