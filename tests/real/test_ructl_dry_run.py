"""`--dry-run` of the commands that ask for something: they say what they would do, and write nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ructl.main import run
from tests.real.ructl_apiserver import Apiserver

OBJECTS = """# proto-message: List
items {
  metadata { name: "worker-7" }
  spec { [rube/api.Node] { } }
}
items {
  metadata { namespace: "dry" name: "web" labels { key: "node" value: "worker-8" } finalizers: "example.com/x" }
  spec { [rube/api.systemd.Unit] { service { exec { start: "/bin/sleep 9" } } } }
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apiserver]:
    found = Apiserver(tmp_path_factory.mktemp("apiserver"))
    found.start()
    yield found
    found.stop()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cordon", "worker-7"), "would be cordoned: worker-7"),
        (("restart", "-n", "dry", "web"), "would restart dry/web"),
        (("move", "-n", "dry", "web", "worker-7", "--force"), "would bind dry/web to worker-7"),
        (
            ("release", "-t", "Unit", "-n", "dry", "web", "--finalizer", "example.com/x"),
            "would release dry/web: no finalizer is left",
        ),
    ],
    ids=["cordon", "restart", "move", "release"],
)
def test_a_dry_run_says_what_it_would_do_and_writes_nothing(
    server: Apiserver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setenv("RUBE_SERVER", server.listen)
    objects = tmp_path / "objects.textproto"
    objects.write_text(OBJECTS)
    assert run(("put", str(objects))) == 0
    places = (("get", "-t", "Unit", "-n", "dry", "web"), ("get", "-t", "Node", "worker-7", "-o", "spec"))
    capsys.readouterr()
    before = [(run(place), capsys.readouterr().out) for place in places]
    assert run((*arguments, "--dry-run")) == 0
    assert capsys.readouterr().out == f"{said}\n"
    assert [(run(place), capsys.readouterr().out) for place in places] == before
