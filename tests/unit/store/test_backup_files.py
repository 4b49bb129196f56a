"""Files that backups are written to: under their name they are whole."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from rube.api.errors import FailedPreconditionError
from rube.store.maintenance import FileSource, FileTarget


def test_what_has_the_name_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    target = FileTarget(path)
    target.write(b"1" * 100_000)
    assert not path.exists()
    target.write(b"2")
    target.finish()
    target.discard()

    async def read() -> bytes:
        return b"".join([piece async for piece in FileSource(path).pieces()])

    assert asyncio.run(read()) == b"1" * 100_000 + b"2"
    assert list(tmp_path.iterdir()) == [path]


def test_a_backup_is_durable_before_it_has_its_name_and_then_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    path = tmp_path / "a"

    def fsync(fd: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{fd}"), path.exists()))

    target = FileTarget(path)
    target.write(b"1")
    monkeypatch.setattr(os, "fsync", fsync)
    target.finish()
    assert synced == [(f"{path}.partial", False), (str(tmp_path), True)]


def test_what_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    target = FileTarget(tmp_path / "a")
    target.write(b"1")
    target.discard()
    target.discard()
    assert not any(tmp_path.iterdir())


def test_what_a_killed_backup_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.partial").write_bytes(b"something longer")
    target = FileTarget(tmp_path / "a")
    target.write(b"1")
    target.finish()
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_file_that_exists_or_is_being_written_is_refused(tmp_path: Path) -> None:
    first = FileTarget(tmp_path / "a")
    with pytest.raises(FailedPreconditionError, match=r"another process is writing .*a\.partial: wait for it"):
        FileTarget(tmp_path / "a")
    first.write(b"1")
    first.finish()
    with pytest.raises(FailedPreconditionError, match="a exists already: name a new file"):
        FileTarget(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"1"


def test_where_no_file_can_be_its_path_and_the_reason_are_named(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match=re.escape("x/a cannot be written (No such file or directory)")):
        FileTarget(tmp_path / "x" / "a")
    with pytest.raises(FailedPreconditionError, match=re.escape("cannot be read (Is a directory)")):
        FileSource(tmp_path)
