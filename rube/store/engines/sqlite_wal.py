"""SQLite's write-ahead log: made durable, copied into the file, and told a torn end from damage.

SQLite takes a frame that does not match its checksum for the log's end, and drops all that follows without a word.
Power loss explains one commit there, the last, since each is synced before the next begins. Formats:
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

# Magic, version, bytes of a page, checkpoints, two salts that every frame of this log repeats, two checksums.
_LOG = struct.Struct(">8I")
# Page, size of the database in pages after a commit (0: no commit), the salts, two checksums.
_FRAME = struct.Struct(">6I")
# The index's header stands twice at its start, as the machine writes integers. How many frames are valid stands at 16.
_INDEX_HEADER_BYTES = 48
_INDEX_START = struct.Struct("=I12xI")
_INDEX_VERSION = 3007000
# Frames may be left there of a commit that was refused, and of one that power loss tore; these are two commits.
_COMMITS_LOST_MIN = 2
_PIECE_BYTES = 1024 * 1024


def sync_log(files: Files, path: Path) -> None:
    """What a killed process wrote may not be durable yet, and from here on it is read."""
    try:
        with closing(files.open(Path(f"{path}-wal"))) as log:
            log.sync()
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataLossError(f"{path}-wal: the disk failed to sync ({error.strerror}): check the disk") from error


def copy_log(connection: Connection) -> bool:
    """Copies the log into the file, as far as nobody reads from it; whether that was all of it."""
    busy, frames, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and frames == copied


def write_log_anew(files: Files, path: Path) -> None:
    """With the bytes that it has: a sync that failed in another process may have left them in memory alone, where the
    next sync finds nothing to write. What is committed from here on stands behind them."""
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
        if error.errno != errno.ENOSPC:  # a file system that writes what is written anew to another place
            raise DataLossError(f"{path}-wal: the disk failed ({error.strerror}): check the disk") from error


def damaged_at(files: Files, path: Path) -> int:
    """Where in the log of the database at `path` valid frames end, though more commits follow; 0 if none do.

    To be asked after a connection has looked at the database and was closed, while nobody writes. (To open the index
    while this process has a connection would drop that one's locks.)
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
    """The places of a log's frames by the page that each holds: the newest of each page that SQLite would take, and all
    that stand behind damage, in their order."""

    valid: dict[int, int]
    behind: list[tuple[int, int]]


def frames_of(log: File, page_bytes: int) -> Frames:
    """Of a log that may be damaged anywhere. A place is that of the page, behind the frame's header."""
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
    return Frames(valid, pending[:committed])  # what comes after the last commit is a part of one


def _sums(sums: tuple[int, int], words: tuple[int, ...]) -> tuple[int, int]:
    """The checksum of a log, over pairs of words, going on from that of what came before."""
    first, second = sums
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & 0xFFFFFFFF
        second = (second + words[index + 1] + first) & 0xFFFFFFFF
    return first, second


def _valid_frames(files: Files, index: Path) -> int | None:
    """None if the index does not say."""
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
