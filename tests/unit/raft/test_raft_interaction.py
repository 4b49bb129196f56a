"""The core, judged by etcd's interaction scripts: every message, hard state, entry and configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from rube.raft.script import Interaction, without_log_lines
from tests.unit.raft.judges import judge, scripts


@pytest.mark.parametrize("path", scripts("interaction"))
def test_etcd_interaction_scripts(path: Path) -> None:
    judge(path, Interaction().handle, without_log_lines)
