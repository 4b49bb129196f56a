"""`rube token` and `rube revoke`: the cluster that they call."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from rube.cli.main import rube


@pytest.mark.parametrize("arguments", ["token list", "token revoke t1", "revoke node/edge-1"])
@pytest.mark.parametrize("given", ["--context home", ""])
def test_the_server_is_that_of_the_context(tmp_path: Path, arguments: str, given: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"current: home\ncontexts:\n  home: {{servers: ['unix:{tmp_path}/absent']}}\n")
    env = {"RUBE_CONFIG": str(file), "RUBE_SERVER": None, "RUBE_CONTEXT": None, "RUBE_TLS": None}
    result = CliRunner().invoke(rube, [*arguments.split(), *given.split()], env=env)
    assert (result.exit_code, f"no server answers at {tmp_path}/absent" in result.output) == (1, True), result.output
