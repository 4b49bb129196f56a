"""SQLite's write-ahead log, as far as must be known of it to tell a torn end from damage.

SQLite takes a frame that does not match its checksum for the log's end, and drops all that follows without a word.
Power loss explains one commit there, the last, since each is synced before the next begins. Formats:
https://www.sqlite.org/fileformat2.html#the_write_ahead_log and https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
from pathlib import Path

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


def damaged_at(path: Path) -> int:
    """Where in the log of the database at `path` valid frames end, though more commits follow; 0 if none do.

    To be asked after a connection has looked at the database and was closed, while nobody writes. (To open the index
    while this process has a connection would drop that one's locks.)
    """
    frames = _valid_frames(Path(f"{path}-shm"))
    if frames is None:
        return 0
    with Path(f"{path}-wal").open("rb") as log:
        header = log.read(_LOG.size)
        if len(header) < _LOG.size:
            return 0
        _, _, page_bytes, _, *salts, _, _ = _LOG.unpack(header)
        end: int = _LOG.size + frames * (_FRAME.size + page_bytes)
        place = end
        commits = 0
        while commits < _COMMITS_LOST_MIN:
            log.seek(place)
            header = log.read(_FRAME.size)
            if len(header) < _FRAME.size:
                return 0
            _, database_pages, *frame_salts, _, _ = _FRAME.unpack(header)
            commits += frame_salts == salts and database_pages > 0
            place += _FRAME.size + page_bytes
    return end


def _valid_frames(index: Path) -> int | None:
    """None if the index does not say."""
    try:
        with index.open("rb") as file:
            first, second = file.read(_INDEX_HEADER_BYTES), file.read(_INDEX_HEADER_BYTES)
    except OSError:
        return None
    if len(second) < _INDEX_HEADER_BYTES or first != second:
        return None
    version, frames = _INDEX_START.unpack_from(first)
    return frames if version == _INDEX_VERSION else None
