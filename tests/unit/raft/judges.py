"""Scripts that judge: where they lie, how one is run, and what of two outputs is compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rube.raft.script import Directive, parse_script, terminated

ROOT = Path(__file__).parents[3]
TESTDATA = ROOT.parent / "shared" / "testdata" / "raft"


def scripts(folder: str) -> list[object]:
    """A parameter for each script of the folder; one that is skipped by name where the folder is absent."""
    paths = sorted((TESTDATA / folder).glob("*.txt"))
    absent = pytest.mark.skip(reason=f"{TESTDATA / folder} is absent: it holds the scripts of etcd-io/raft")
    return [pytest.param(path, id=path.stem) for path in paths] or [pytest.param(None, id=folder, marks=absent)]


def judge(path: Path, handle: Callable[[Directive], str], shown: Callable[[str], str] = str) -> None:
    """Runs the script; what is expected and what is printed must be equal, in what `shown` leaves of both."""
    directives = [d for d in parse_script(path.read_text(), path.name).directives if d.command != "subtest"]
    assert directives, f"{path} has no directives"
    for directive in directives:
        output = terminated(handle(directive))
        assert directive.expected is not None, f"{path.name}:{directive.line} expects nothing"
        assert shown(output) == shown(directive.expected), f"{path.name}:{directive.line}: {directive.command}"
