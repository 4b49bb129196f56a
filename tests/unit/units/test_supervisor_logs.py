"""A unit's output: bounded as it is written, whole as it is read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rube.units.drivers.supervisor.logs import LOG_BYTES_MAX, LOG_FILES, UnitLogReader
from rube.units.drivers.supervisor.output import PIPE_BYTES, RotatingLog, UnitOutput


def written(directory: Path, *chunks: bytes) -> RotatingLog:
    log = RotatingLog(str(directory))
    for chunk in chunks:
        log.write(chunk)
    return log


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def lines(first: int, last: int) -> bytes:
    return b"".join(b"%09d\n" % number for number in range(first, last))


def test_the_files_never_take_more_than_their_bound(tmp_path: Path) -> None:
    log = RotatingLog(str(tmp_path))
    for _ in range(3 * LOG_FILES):
        log.write(b"x" * (LOG_BYTES_MAX // 2 + 7))
        assert size_of(tmp_path) <= LOG_FILES * LOG_BYTES_MAX
        assert all(path.stat().st_size <= LOG_BYTES_MAX for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == LOG_FILES


def test_one_write_that_is_larger_than_all_files_stays_within_the_bound(tmp_path: Path) -> None:
    written(tmp_path, b"x" * (LOG_BYTES_MAX * (LOG_FILES + 2)))
    assert size_of(tmp_path) == LOG_FILES * LOG_BYTES_MAX


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    written(tmp_path, b"secret\n")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_new_writer_goes_on_in_the_same_file(tmp_path: Path) -> None:
    written(tmp_path, b"one\n").close()
    written(tmp_path, b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_what_a_full_disk_refuses_is_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path, b"one\n")
    write = os.write
    with monkeypatch.context() as patch:

        def refuse(handle: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "write", refuse)
        log.write(b"12345")
        log.write(b"678")
    assert os.write is write
    log.write(b"two\n")
    assert (tmp_path / "log").read_bytes() == (
        b"one\n\n[rube: 8 bytes of output were lost here: no space left on device]\ntwo\n"
    )


def test_where_files_cannot_be_renamed_the_newest_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "log.1").mkdir()
    (tmp_path / "log.1" / "in the way").touch()
    (tmp_path / "log.2").mkdir()
    (tmp_path / "log.2" / "in the way").touch()
    written(tmp_path, b"x" * (LOG_BYTES_MAX * 3 + 5))
    assert (tmp_path / "log").stat().st_size == 5


def test_a_log_that_was_removed_is_made_again(tmp_path: Path) -> None:
    log = written(tmp_path, b"one\n")
    (tmp_path / "log").unlink()
    log.check()
    log.write(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"two\n"


def test_the_last_lines_are_found_over_rotated_files(tmp_path: Path) -> None:
    written(tmp_path, lines(0, 250_000))
    assert (tmp_path / "log.2").exists()
    with UnitLogReader(str(tmp_path)) as reader:
        assert reader.last(3) == lines(249_997, 250_000)
        assert reader.last(150_000) == lines(100_000, 250_000)


@pytest.mark.parametrize(
    ("content", "wanted", "last"),
    [
        (b"", 5, b""),
        (b"one\ntwo", 1, b"two"),
        (b"one\ntwo\n", 1, b"two\n"),
        (b"one\ntwo\n", 9, b"one\ntwo\n"),
        (b"one\ntwo\n", 0, b""),
        (b"\n\n\n", 2, b"\n\n"),
    ],
)
def test_the_last_lines_of_a_small_log(tmp_path: Path, content: bytes, wanted: int, last: bytes) -> None:
    written(tmp_path, content)
    with UnitLogReader(str(tmp_path)) as reader:
        assert reader.last(wanted) == last


def test_a_reader_misses_nothing_while_files_rotate(tmp_path: Path) -> None:
    log = written(tmp_path, lines(0, 10))
    with UnitLogReader(str(tmp_path)) as reader:
        read = reader.last(5)
        for first in range(10, 400_010, 50_000):
            log.write(lines(first, first + 50_000))
            read += reader.more()
        assert read == lines(5, 400_010)
        assert reader.more() == b""
        assert reader.gaps == 0


def test_a_reader_that_is_too_slow_goes_on_with_what_is_left_and_counts_the_gap(tmp_path: Path) -> None:
    log = written(tmp_path, b"begin\n")
    with UnitLogReader(str(tmp_path)) as reader:
        reader.last(1)
        log.write(lines(0, 1_000_000))
        assert reader.more().endswith(lines(999_000, 1_000_000))
        assert reader.gaps == 1


def test_a_unit_that_printed_nothing_or_is_gone_gives_nothing(tmp_path: Path) -> None:
    with UnitLogReader(str(tmp_path / "none")) as reader:
        assert reader.last(10) == b""
        assert reader.more() == b""


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    (tmp_path / "log.1").symlink_to("/etc/passwd")
    with UnitLogReader(str(tmp_path)) as reader:
        assert reader.last(10) == b""


def test_a_log_begun_after_the_reader_is_read_from_its_beginning(tmp_path: Path) -> None:
    with UnitLogReader(str(tmp_path)) as reader:
        assert reader.last(10) == b""
        written(tmp_path, b"one\n")
        assert reader.more() == b"one\n"


def test_output_comes_through_the_pipe_until_its_last_holder_ends(tmp_path: Path) -> None:
    output = UnitOutput(str(tmp_path))
    held = os.dup(output.writer())
    os.write(output.writer(), b"one\n")
    output.release()
    output.copy()
    assert len(output.readers) == 1
    os.write(held, b"x" * PIPE_BYTES)
    os.close(held)
    output.copy()
    assert output.readers == []
    assert (tmp_path / "log").stat().st_size == 4 + PIPE_BYTES
    output.close()
