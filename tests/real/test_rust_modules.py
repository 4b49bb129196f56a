"""The committed WebAssembly modules are what their sources give; needs the Rust toolchain that they name."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("Cargo.toml", "Makefile", "pyproject.toml", "rust-toolchain.toml", "sdk", "examples/03-own-controller/rust")
MODULE = "examples/03-own-controller/agents.wasm"


def _missing() -> str:
    """Returns the command that installs what is missing, or nothing."""
    wanted = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]
    channel, target = wanted["channel"], wanted["targets"][0]
    command = ["rustup", "target", "list", "--installed", "--toolchain", channel]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60) if shutil.which("rustup") else None
    if found is not None and target in found.stdout.split():
        return ""
    return f"rustup toolchain install {channel} --profile minimal --target {target}"


@pytest.mark.timeout(600)
def test_a_committed_module_is_what_its_sources_give(tmp_path: Path) -> None:
    if missing := _missing():
        pytest.skip(f"no Rust: {missing}")
    for name in SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    fetched = subprocess.run(["cargo", "fetch", "--quiet"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    if fetched.returncode:
        pytest.skip(f"the crates cannot be had: {fetched.stderr.splitlines()[0]}")
    subprocess.run(["make", "rust-modules"], cwd=tmp_path, check=True, timeout=500)
    assert (tmp_path / MODULE).read_bytes() == (ROOT / MODULE).read_bytes(), "run: make rust"
