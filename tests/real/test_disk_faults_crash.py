"""kill -9 in the middle of commits, often. `RUBE_CRASH_LIVES=1000` makes a campaign of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIVES = int(os.environ.get("RUBE_CRASH_LIVES", "25"))
SEED = os.environ.get("RUBE_TEST_SEED", "1")


@pytest.mark.timeout(60 + LIVES)
@pytest.mark.parametrize("scheme", ["rocksdb", "sqlite"])
def test_nothing_that_was_acknowledged_is_lost_however_often_the_process_is_killed(tmp_path: Path, scheme: str) -> None:
    argv = [sys.executable, "-m", "tests.real.crash_lives", f"{scheme}:///{tmp_path}/data", str(LIVES), SEED]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert f"{LIVES} lives" in ended.stdout
    print(ended.stdout)
