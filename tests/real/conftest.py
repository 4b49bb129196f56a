"""Fixtures of the tests that run `ructl` against one real apiserver, each in a namespace of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rube.cli.local import write_open_policy
from ructl.main import run
from tests.real.ructl_apiserver import Apiserver


@pytest.fixture(scope="session", autouse=True)
def _open_policy() -> Iterator[None]:
    """Rubelets of tests that name no policy run units as root, if they are root: the tests' units name no user."""
    with tempfile.TemporaryDirectory(prefix="rube-policy-") as directory, pytest.MonkeyPatch.context() as patch:
        if "RUBELET_POLICY" not in os.environ:
            patch.setenv("RUBELET_POLICY", str(write_open_policy(Path(directory))))
        yield


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apiserver]:
    """A server for all tests of a module."""
    server = Apiserver(tmp_path_factory.mktemp("apiserver"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def ructl(
    shared: Apiserver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs ructl in this process; returns its exit code and all that it prints."""
    monkeypatch.setenv("RUBE_SERVER", shared.listen)

    def call(*arguments: str) -> tuple[int, str]:
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return call
