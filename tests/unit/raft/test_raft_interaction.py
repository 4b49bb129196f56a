"""The core, judged by etcd's interaction scripts: every message, hard state, entry and configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from rube.raft.script import Interaction, without_log_lines
from tests.unit.raft.judges import judge, scripts

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", scripts("interaction"))
def test_etcd_interaction_scripts(path: Path) -> None:
    judge(path, Interaction().handle, without_log_lines)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_random_scripts_print_what_etcd_printed(path: Path) -> None:
    """These are here so that a core can be judged where etcd's scripts are absent, and on cases that those lack."""
    judge(path, Interaction().handle, without_log_lines)
