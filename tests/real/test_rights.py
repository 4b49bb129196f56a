"""Rights of real daemons: an apiserver with them, and ructl."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ructl.main import run
from tests.real.ructl_apiserver import Apiserver

UNIT = """
metadata { namespace: "shop" name: "till" }
spec { [rube/api.systemd.Unit] { service { exec { start: "/bin/sleep 60" } } } }
"""


@contextmanager
def served(directory: Path, *options: str) -> Iterator[str]:
    server = Apiserver(directory, options=("--controllers", "", *options))
    server.start()
    try:
        yield server.listen
    finally:
        server.stop()


def test_ructl_says_what_the_caller_may_do_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "unit").write_text(UNIT)

    def asked(server: str, *arguments: str) -> tuple[int, str]:
        code = run([*arguments, "--server", server])
        said = capsys.readouterr()
        return code, said.out + said.err

    with served(tmp_path) as server:
        assert asked(server, "auth", "whoami")[1].endswith("rights are off: everyone may do everything\n")
        assert asked(server, "auth", "can-i", "put", "Unit") == (0, "yes: rights are off, everyone may do everything\n")
        assert asked(server, "put", str(tmp_path / "unit"))[0] == 0
    with served(tmp_path, "--rights", "--local", "read-only") as server:
        assert "role: read-only, by group readers" in asked(server, "auth", "whoami")[1]
        assert asked(server, "auth", "can-i", "list", "Unit", "-n", "shop")[0] == 0
        code, why = asked(server, "auth", "can-i", "delete", "Unit", "-n", "shop", "till")
        verbs = "get, history, list, logs, watch, and not delete: add it to a role"
        assert (code, why) == (1, f"no\n  its rules for api.systemd.Unit have the verbs {verbs}\n")
        assert asked(server, "get", "-t", "Unit", "-n", "shop", "till")[0] == 0
        code, refused = asked(server, "delete", "-t", "Unit", "-n", "shop", "till")
        assert code == 1
        assert refused == (
            "ructl: user/local may not delete api.systemd.Unit/shop/till: no rule allows it; "
            "'ructl auth why user/local delete api.systemd.Unit -n shop till' says what is missing\n"
        )
    with served(tmp_path, "--rights", "--local", "deny") as server:
        assert asked(server, "auth", "whoami")[1].startswith("anonymous\n")
        code, refused = asked(server, "list", "-t", "Unit")
        assert code == 1
        assert "shows no identity" in refused
