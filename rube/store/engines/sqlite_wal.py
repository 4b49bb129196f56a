"""SQLite's write-ahead log: making it durable, copying it into the file, and telling a torn end from damage.

SQLite takes a frame that does not match its checksum for the log's end, and drops everything after it without an error.
Power loss explains one such commit, the last, since each is synced before the next begins. Formats:
https://www.sqlite.org/fileformat2.html#the_write_ahead_log and https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import errno
import struct
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from rube.api.errors import DataLossError
from rube.store.engines.sqlite_files import Connection, File, Files

# The log's header: magic, version, bytes of a page, checkpoints, two salts that every frame of this log repeats, two
# checksums.
_LOG = struct.Struct(">8I")
# A frame's header: page, size of the database in pages after a commit (0: no commit), the salts, two checksums.
_FRAME = struct.Struct(">6I")
# The index's header is twice at its start, in the machine's byte order. The number of valid frames is at 16.
_INDEX_HEADER_BYTES = 48
_INDEX_START = struct.Struct("=I12xI")
_INDEX_VERSION = 3007000
# The log may end with frames of a refused commit and of one that power loss tore; these count as two commits.
_COMMITS_LOST_MIN = 2
_PIECE_BYTES = 1024 * 1024


def sync_log(files: Files, path: Path) -> None:
    """Syncs the log: a killed process may have written what is not durable yet, and from here on it is read."""
    try:
        with closing(files.open(Path(f"{path}-wal"))) as log:
            log.sync()
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataLossError(f"{path}-wal: the disk failed to sync ({error.strerror}): check the disk") from error


def copy_log(connection: Connection) -> bool:
    """Copies the log into the file, up to what readers still need; returns whether that was all of it."""
    busy, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and frames == copied


def write_log_anew(files: Files, path: Path) -> None:
    """Writes the log's bytes again. After a sync that failed in another process they may be in memory alone, where the
    next sync finds nothing to write; later commits come after them in the log."""
    try:
        with closing(files.open(Path(f"{path}-wal"))) as log:
            place = 0
            while piece := log.read_at(_PIECE_BYTES, place):
                log.write_at(piece, place)
                place += len(piece)
            log.sync()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOSPC:  # a file system that writes overwritten data to another place
            raise DataLossError(f"{path}-wal: the disk failed ({error.strerror}): check the disk") from error


def damaged_at(files: Files, path: Path) -> int:
    """Returns the offset in the log of the database at `path` where valid frames end although more commits follow; 0 if
    there is no damage.

    Call it after a connection has looked at the database and was closed, while no process writes. (Opening the index
    while this process has a connection would drop that connection's locks.)
    """
    frames = _valid_frames(files, Path(f"{path}-shm"))
    if frames is None:
        return 0
    with closing(files.open(Path(f"{path}-wal"))) as log:
        header = log.read_at(_LOG.size, 0)
        if len(header) < _LOG.size:
            return 0
        _, _, page_bytes, _, *salts, _, _ = _LOG.unpack(header)
        end: int = _LOG.size + frames * (_FRAME.size + page_bytes)
        place = end
        commits = 0
        while commits < _COMMITS_LOST_MIN:
            header = log.read_at(_FRAME.size, place)
            if len(header) < _FRAME.size:
                return 0
            _, database_pages, *frame_salts, _, _ = _FRAME.unpack(header)
            commits += frame_salts == salts and database_pages > 0
            place += _FRAME.size + page_bytes
    return end


class Frames(NamedTuple):
    """The offsets of a log's frames by the page that each holds: for each page the newest valid frame, and all frames
    after damage, in order."""

    valid: dict[int, int]
    behind: list[tuple[int, int]]


def frames_of(log: File, page_bytes: int) -> Frames:
    """Returns the frames of a log that may be damaged anywhere. An offset is that of the page, after the frame's
    header."""
    header = log.read_at(_LOG.size, 0)
    valid: dict[int, int] = {}
    pending: list[tuple[int, int]] = []
    if len(header) < _LOG.size:
        return Frames(valid, pending)
    magic, *_, first_salt, second_salt, _, _ = _LOG.unpack(header)
    salts = (first_salt, second_salt)
    order = ">" if magic & 1 else "<"
    page_words, head_words = struct.Struct(f"{order}{page_bytes // 4}I"), struct.Struct(f"{order}6I")
    sums = _sums((0, 0), head_words.unpack_from(header))
    sound = header_sound = sums == _LOG.unpack(header)[-2:]
    place, committed = _LOG.size, 0
    while len(frame := log.read_at(_FRAME.size + page_bytes, place)) == _FRAME.size + page_bytes:
        page, database_pages, *frame_salts, first, second = _FRAME.unpack_from(frame)
        place += _FRAME.size
        if not header_sound and place == _LOG.size + _FRAME.size:
            salts = (frame_salts[0], frame_salts[1])
        of_this_log = tuple(frame_salts) == salts
        if sound:
            sums = _sums(_sums(sums, head_words.unpack_from(frame)[:2]), page_words.unpack_from(frame, _FRAME.size))
            sound = of_this_log and sums == (first, second)
        if of_this_log:
            pending.append((page, place))
            if database_pages:
                committed = len(pending)
        if sound and database_pages:
            valid.update(pending)
            pending, committed = [], 0
        place += page_bytes
    return Frames(valid, pending[:committed])  # frames after the last commit belong to an unfinished one


def _sums(sums: tuple[int, int], words: tuple[int, ...]) -> tuple[int, int]:
    """Returns the checksum of a log over pairs of words, continued from `sums`."""
    first, second = sums
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & 0xFFFFFFFF
        second = (second + words[index + 1] + first) & 0xFFFFFFFF
    return first, second


def _valid_frames(files: Files, index: Path) -> int | None:
    """Returns the number of valid frames; None if the index does not say."""
    try:
        with closing(files.open(index)) as file:
            headers = file.read_at(2 * _INDEX_HEADER_BYTES, 0)
    except OSError:
        return None
    first, second = headers[:_INDEX_HEADER_BYTES], headers[_INDEX_HEADER_BYTES:]
    if len(second) < _INDEX_HEADER_BYTES or first != second:
        return None
    version, frames = _INDEX_START.unpack_from(first)
    return frames if version == _INDEX_VERSION else None
