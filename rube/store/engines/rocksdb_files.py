"""The files of a RocksDB directory: its ownership, its opening, and its acknowledged commits."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rube.api.errors import DataLossError, FailedPreconditionError, RubeError, UnavailableError
from rube.store.checksums import SALVAGE
from rube.store.engines.acknowledged import ID_BYTES, AcknowledgedMark, read_mark
from rube.store.engines.private_files import close_to_others, make_directory, open_file
from rube.store.engines.rocksdb_errors import damaged, translate
from rube.store.engines.rocksdb_wal import is_sound, is_torn, length_up_to
from rube.store.engines.room import log_bytes

if TYPE_CHECKING:
    from rocksdict import DBRecoveryMode, Options, Rdict

# The format is in a file of its own, so that it is known before RocksDB touches anything.
FORMAT = b"rube rocksdb 1\n"
FORMAT_FILE = "RUBE"
MARK_FILE = "ACKNOWLEDGED"
WRITE_BUFFER_BYTES_MAX = 32 * 1024 * 1024
"""A log is as large as the table in memory, and the next start reads it again."""
LEVEL_BUFFERS = 4
"""So many tables of that size are merged at once, into a level of about as many."""
BLOCK_CACHE_BYTES = 32 * 1024 * 1024
MANIFEST_BYTES_MAX = 16 * 1024 * 1024
INFO_LOGS_MAX = 3
DELETES_THAT_COMPACT = (1000, 500, 0.5)
"""A table is merged soon if so many of so many consecutive rows (and this part of all) are deletes."""
READER_RETRIES_MAX = 20
"""Attempts of a reader, which starts again if the server changes its files meanwhile."""


def place_of(path: Path) -> Path:
    """Returns the directory's own path: inside one process RocksDB's lock is about names. Raises
    FailedPreconditionError."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a circle of links
        raise FailedPreconditionError(f"{path} cannot be opened ({error}): choose another directory") from error


def prepare(path: Path) -> None:
    """Makes a new directory a store's; checks that an old one is. Only its owner may look into it.

    Raises FailedPreconditionError, and DataLossError if a file is gone without which the others are not found.
    """
    try:
        make_directory(path)
        found = sorted(os.listdir(path))
        if not found:
            _write_durably(path / FORMAT_FILE, FORMAT)
            sync_directory(path)
            sync_directory(path.parent)
    except OSError as error:
        raise FailedPreconditionError(
            f"{path} cannot be created or opened ({error.strerror}): choose a directory that this user may write to"
        ) from error
    check_ours(path, found)
    if "CURRENT" not in found and any(name.endswith((".sst", ".log")) for name in found):
        # RocksDB would begin with an empty database, and remove the rows.
        raise damaged(path, f"{path / 'CURRENT'} is not there")
    close_to_others(path)
    for name in found:
        close_to_others(path / name)


def check_ours(path: Path, found: Sequence[str]) -> None:
    """Raises FailedPreconditionError unless the directory holds a store of a known version, or is new and empty."""
    if not found:
        return
    if FORMAT_FILE not in found:
        raise FailedPreconditionError(
            f"{path} holds files of something else (such as {found[0]}): choose another directory"
        )
    stored = (path / FORMAT_FILE).read_bytes()
    if stored == FORMAT:
        return
    if FORMAT.startswith(stored) and "CURRENT" not in found:
        _write_durably(path / FORMAT_FILE, FORMAT)  # its creation was interrupted
        return
    raise FailedPreconditionError(
        f"{path} has format {stored[:40]!r} and this program knows {FORMAT!r}: use the version of Rube that wrote it, "
        "or restore a backup"
    )


def open_writer(path: Path) -> Rdict:
    """Opens or creates the database. Raises the errors of `rube.host.Storage.open`."""
    from rocksdict import DBRecoveryMode, Rdict

    try:
        return Rdict(str(path), options(path, DBRecoveryMode.tolerate_corrupted_tail_records()))
    except Exception as error:
        failure = translate(error, path, opening=True)
        if not isinstance(failure, DataLossError) or not _is_end_torn(path):
            raise failure from error
    # What power loss cut off was never acknowledged. (RocksDB accepts a log that merely ends early as it is.)
    try:
        return Rdict(str(path), options(path, DBRecoveryMode.point_in_time()))
    except Exception as error:
        raise translate(error, path, opening=True) from error


def open_reader(path: Path) -> Rdict:
    """Opens the database as it is at one point during this call, even while a server has it open.

    A server that flushes its log into a table meanwhile could make a reader see neither, so the files are compared
    before and after. Raises UnavailableError if they change too often.
    """
    if not (path / "CURRENT").exists() or not (path / FORMAT_FILE).exists():
        raise FailedPreconditionError(f"there is no store at {path}: check the path")
    check_ours(path, sorted(os.listdir(path)))
    failure: RubeError = UnavailableError(f"{path}: the server that has it open changes its files: try again")
    for _ in range(READER_RETRIES_MAX):
        before = _state_of(path)
        try:
            reader = _open_beside(path)
        except Exception as error:
            failure = translate(error, path, opening=True)
            if _state_of(path) == before:
                raise failure from error
            continue
        if _state_of(path) == before:
            return reader
        reader.close()
    raise failure


def _open_beside(path: Path) -> Rdict:
    from rocksdict import AccessType, DBRecoveryMode, Rdict

    # RocksDB's own info log goes elsewhere: the server's would be renamed.
    aside = tempfile.mkdtemp(prefix="rube-rocksdb-")
    try:
        reading = options(path, DBRecoveryMode.tolerate_corrupted_tail_records())
        reading.set_db_log_dir(aside)
        return Rdict(str(path), reading, access_type=AccessType.read_only(False))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _state_of(path: Path) -> tuple[tuple[str, int], ...]:
    """Returns what changes whenever the server moves data from its log into a table: manifests with sizes, logs by
    name."""
    found = []
    for name in sorted(os.listdir(path)):
        if name.endswith(".log"):
            found.append((name, 0))
        elif name.startswith("MANIFEST-"):
            found.append((name, size_of(path / name)))
    return tuple(found)


def options(path: Path, recovery: DBRecoveryMode) -> Options:
    """Returns options for plain bytes, every checksum on, a small footprint."""
    from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options

    chosen = Options(raw_mode=True)
    chosen.create_if_missing(True)
    chosen.set_paranoid_checks(True)
    chosen.set_wal_recovery_mode(recovery)
    write_buffer_bytes = log_bytes(path, WRITE_BUFFER_BYTES_MAX)
    chosen.set_write_buffer_size(write_buffer_bytes)
    chosen.set_level_zero_file_num_compaction_trigger(LEVEL_BUFFERS)
    chosen.set_max_bytes_for_level_base(LEVEL_BUFFERS * write_buffer_bytes)
    chosen.set_target_file_size_base(write_buffer_bytes)
    chosen.set_compression_type(DBCompressionType.lz4())
    chosen.set_max_manifest_file_size(MANIFEST_BYTES_MAX)
    chosen.set_keep_log_file_num(INFO_LOGS_MAX)
    chosen.set_stats_dump_period_sec(0)
    chosen.add_compact_on_deletion_collector_factory(*DELETES_THAT_COMPACT)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    chosen.set_block_based_table_factory(table)
    return chosen


def check_mark(path: Path, mark_fd: int, sequence: int) -> None:
    """Raises DataLossError if acknowledged commits are missing."""
    mark = read_mark(mark_fd)
    if mark is not None and sequence < mark.sequence:
        raise lost(path, sequence, mark.sequence)


def lost(path: Path, sequence: int, acknowledged: int) -> DataLossError:
    return DataLossError(
        f"{path} is damaged: {acknowledged} writes were acknowledged and its log ends after {sequence}: "
        f"{SALVAGE}; or, to go on without what is lost, remove {path / MARK_FILE}",
        path=str(path),
    )


def mark_of(sequence: int) -> AcknowledgedMark:
    # The mark is in the database's own directory: it needs no identity.
    return AcknowledgedMark(bytes(ID_BYTES), sequence)


def cut_logs(path: Path, sequence: int) -> None:
    """Cuts everything newer than `sequence` off the logs: a batch that was refused must not come back."""
    for log in logs_of(path):
        data = log.read_bytes()
        length = length_up_to(data, sequence)
        if length < len(data):
            with log.open("r+b") as file:
                file.truncate(length)
                os.fsync(file.fileno())


def logs_of(path: Path) -> list[Path]:
    """Returns the write-ahead logs, oldest first."""
    return sorted(path.glob("*.log"))


def _is_end_torn(path: Path) -> bool:
    """Returns whether nothing is damaged but the end of the newest log that holds anything."""
    logs = [data for data in (log.read_bytes() for log in logs_of(path)) if data]
    return bool(logs) and is_torn(logs[-1]) and all(is_sound(log) for log in logs[:-1])


def size_of(path: Path) -> int:
    """Returns the file's size; 0 if it has gone meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_durably(path: Path, data: bytes) -> None:
    with os.fdopen(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def check_absent(path: Path) -> None:
    """Raises FailedPreconditionError if there is something at the place of a copy."""
    if path.exists():
        raise FailedPreconditionError(f"{path} exists already: name a new directory for the copy, or move it away")


def seal_copy(path: Path) -> None:
    """Makes a RocksDB checkpoint a store: as the last step, so that an interrupted copy is none."""
    close_to_others(path)
    _write_durably(path / FORMAT_FILE, FORMAT)
    sync_directory(path)
    sync_directory(path.parent)
