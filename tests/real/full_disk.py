"""A file system of its own that can be filled to the last byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(directory: Path, size_mb: int) -> Iterator[Path]:
    """Makes the directory, and in it a file system. Only what is used of it takes memory."""
    if os.geteuid() != 0:
        pytest.skip("mounts a tmpfs: run as root")
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)  # a failed test leaves files open


def take_all(disk: Path) -> Path:
    """Another program takes what is left."""
    path = disk / "other"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
    return path
