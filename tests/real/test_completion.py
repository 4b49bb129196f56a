"""The completion scripts in the shells that they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
LINES = {
    "ructl des": "describe",
    "ructl get -t Un": "Unit",
    "ructl wait -t Unit a --for ac": "active",
    "ructl wait -t Unit a --for status.active_st": "status.active_state=",
    "ructl wait -t Node a --for=status.readiness=SI": "--for=status.readiness=SILENT",
    "ructl list -o wi": "wide",
    "ructl context use pro": "prod",
}
"""Lines that complete without a server: the typed line, and the words that then stand in the place of its last one."""
BASH = r"""
source <(ructl completion bash)
compopt() { :; }
COMP_LINE=$1 COMP_POINT=${#1}
_ructl_completion ructl
word=${1##* }
tail=${word##*[=:]}
before=${word:0:$(( ${#word} - ${#tail} ))}
printf '%s\n' "${COMPREPLY[@]/#/$before}"
"""
"""As readline has it: the words of the line, which end at = and :, too."""
FISH = "ructl completion fish | source; complete --do-complete $argv[1]"
ZSH = r"""
zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell 'source <(ructl completion zsh); ructl() { print -r -- "<${@[-1]}>"; }; PS1=; print rea""dy'
zpty -r shell out '*ready*'
zpty -w -n shell "$1"$'\t\n'
zpty -r shell out '*<*>*'
print -r -- "${${out##*<}%%>*}"
"""
"""A terminal of its own: types the line and a tab, and has a command in the place of ructl say what it gets."""
SHELLS = {
    "bash": ("bash", "--norc", "-c", BASH, "bash"),
    "zsh": ("zsh", "-f", "-c", ZSH, "zsh"),
    "fish": ("fish", "-N", "-c", FISH),
}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell: str, line: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}: apt-get install {shell}")
    config = tmp_path / "config.yaml"
    config.write_text('contexts: {prod: {servers: ["127.0.0.1:1"]}, test: {servers: ["127.0.0.1:1"]}}')
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "RUBE_SERVER": "127.0.0.1:1",
        "RUBE_CONFIG": str(config),
    }
    found = subprocess.run(
        [*SHELLS[shell], line], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.stdout.split("\t")[0].strip() == LINES[line], found
