"""`rube bench fleet`: real rubelets, and an apiserver that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

RUBE = (sys.executable, "-m", "rube.cli.main")


def test_a_small_fleet_gives_all_figures(tmp_path: Path) -> None:
    argv = [*RUBE, "bench", "fleet", "--nodes", "4", "--rest", "5", "--keep", str(tmp_path), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    figures = {figure["what"]: figure["value"] for figure in report["figures"]}
    assert report["nodes"] == 4
    assert 0 < figures["put to the node's having it, p50"] <= figures["put to the node's having it, p99"]
    assert figures["put to the node's having it, max"] <= figures["put to its status being seen, max"]
    assert 0 < figures["revisions at rest"] < 20
    assert figures["after kill -9 and a restart, a change to every unit is done after"] > 0
    assert figures["apiserver's memory"] > 10


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    argv = [*RUBE, "bench", "fleet", "--nodes", "1", "--keep", str(tmp_path / "file")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


def test_an_apiserver_that_does_not_start_says_why(tmp_path: Path) -> None:
    argv = [*RUBE, "bench", "fleet", "--nodes", "1", "--keep", str(tmp_path), "--", "--no-such-option"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "--no-such-option" in done.stderr
    assert "Traceback" not in done.stderr
