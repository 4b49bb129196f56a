"""The remains of a damaged SQLite engine's files, page by page. They are only read."""

from __future__ import annotations

import sqlite3  # noqa: TID251 (belongs to the engine)
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from errno import ENOENT
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

from rube.api.errors import FailedPreconditionError, RubeError
from rube.host.engine import Remains
from rube.store.engines.sqlite_files import OS_FILES, Access, Connection, File, Files, Lock
from rube.store.engines.sqlite_pages import Page, cells_of, free_pages, value_at
from rube.store.engines.sqlite_tables import (
    MARK_ID,
    PAGE_BYTES,
    get_value,
    id_of_key,
    inspect_file,
    key_of_id,
    mark_of,
)
from rube.store.engines.sqlite_wal import frames_of

_FINDINGS_MAX = 20


class _Image(NamedTuple):
    """A copy of a page. `current` if SQLite would read this one."""

    in_log: bool
    offset: int
    current: bool


class SqliteWreck:
    """The `rube.host.Wreck` of a file and its log. It takes about 20 bytes of memory a row.

    Rows on a leaf that SQLite would read are current. Others are in the log after damage, on pages that the log has
    replaced, or on pages that do not look like a leaf any more.
    """

    def __init__(self, files: Files, path: Path, lock: Lock) -> None:
        self._files = files
        self._path = path
        self._lock = lock
        self._file = files.open(path)
        self._wal = _open_log(files, path)
        frames = frames_of(self._wal, PAGE_BYTES)
        # For every page its offset in the log where SQLite finds it, and the newest one after damage.
        self._valid, self._behind = frames.valid, dict(frames.behind)
        self._pages = max(self._file.size_bytes() // PAGE_BYTES, *frames.valid, *self._behind, 0)
        self._images: list[_Image] = []
        # For every row that was found: its id, its image, the offset of its cell in there, and whether it is current.
        self._ids, self._of_image, self._cells, self._listed = array("q"), array("I"), array("H"), array("B")
        self._findings: list[str] = []
        free = free_pages(self._page, self._pages)
        if free is None:
            self._findings.append("the list of free pages is damaged: what was deleted may have come back")
        self._collect(free or set(), [place for _, place in frames.behind])
        self._order = sorted(range(len(self._ids)), key=self._ids.__getitem__)
        self._look()

    @classmethod
    def open(cls, path: Path, files: Files = OS_FILES) -> SqliteWreck:
        """Raises FailedPreconditionError if there is no file, or a process has it open."""
        path = files.place_of(path)
        if files.size_bytes(path) is None:
            raise FailedPreconditionError(f"there is no store at {path}: check the path")
        lock = files.lock(path)
        try:
            return cls(files, path, lock)
        except BaseException:
            lock.release()
            raise

    def log(self) -> Iterator[Remains]:
        for row in self._order:
            if self._ids[row] != MARK_ID and (data := self._data(row)) is not None:
                yield Remains(key_of_id(self._ids[row]), data, bool(self._listed[row]))

    def read(self, number: int) -> list[bytes]:
        row_id = id_of_key(number)
        first = bisect_left(self._order, row_id, key=self._ids.__getitem__)
        rows = takewhile(lambda row: self._ids[row] == row_id, islice(self._order, first, None))
        return [data for row in rows if (data := self._data(row)) is not None]

    def get(self, key: bytes) -> bytes | None:
        try:
            with closing(self._connect()) as connection:
                return get_value(connection, self._path, key)
        except (sqlite3.Error, RubeError):
            return None

    def holes(self) -> list[tuple[int, int]]:
        return []  # nothing tells what is missing

    def findings(self) -> list[str]:
        return self._findings

    async def close(self) -> None:
        self._file.close()
        self._wal.close()
        self._lock.release()

    def _collect(self, free: set[int], behind: list[int]) -> None:
        for number in range(1, self._pages + 1):
            in_log = number in self._valid
            if number not in free:
                self._add(_Image(in_log, self._valid.get(number, (number - 1) * PAGE_BYTES), current=True))
            if in_log:
                self._add(_Image(False, (number - 1) * PAGE_BYTES, current=False))
        for offset in behind:
            self._add(_Image(True, offset, current=False))

    def _add(self, image: _Image) -> None:
        page = self._read(image)
        if page is None or (image.offset == 0 and not image.in_log):  # the first page holds the schema
            return
        for row_id, place, listed in cells_of(page):
            self._ids.append(row_id)
            self._of_image.append(len(self._images))
            self._cells.append(place)
            self._listed.append(listed and image.current)
        self._images.append(image)

    def _data(self, row: int) -> bytes | None:
        image = self._images[self._of_image[row]]
        page = self._read(image)
        return None if page is None else value_at(page, self._cells[row], self._page if image.current else self._newest)

    def _page(self, number: int) -> Page | None:
        """Returns the page as SQLite would read it."""
        if number in self._valid:
            return self._read(_Image(True, self._valid[number], current=True))
        return self._read(_Image(False, (number - 1) * PAGE_BYTES, current=True))

    def _newest(self, number: int) -> Page | None:
        """Returns the newest copy of the page, including those after damage."""
        if number in self._behind:
            return self._read(_Image(True, self._behind[number], current=False))
        return self._page(number)

    def _read(self, image: _Image) -> Page | None:
        page = (self._wal if image.in_log else self._file).read_at(PAGE_BYTES, image.offset)
        return page if len(page) == PAGE_BYTES else None

    def _look(self) -> None:
        """Notes SQLite's findings, and whether commits are missing."""
        try:
            with closing(self._connect()) as connection:
                self._findings += islice(inspect_file(connection), _FINDINGS_MAX)
        except sqlite3.Error as error:
            self._findings.append(str(error))
        acknowledged = self._lock.read_mark()
        marks = [mark_of(data) for row in self._order if self._ids[row] == MARK_ID and (data := self._data(row))]
        found = max(
            (mark.sequence for mark in marks if acknowledged and mark.identity == acknowledged.identity), default=0
        )
        if acknowledged is not None and found < acknowledged.sequence:
            self._findings.append(f"{acknowledged.sequence} commits were acknowledged, and {found} are there")

    def _connect(self) -> Connection:
        return self._files.connect(self._path, Access.INSPECT)


class _NoLog:
    """The `File` of a log that is not there."""

    def read_at(self, size_bytes: int, place: int) -> bytes:
        return b""

    def write_at(self, data: bytes, place: int) -> None:
        raise OSError(ENOENT, "there is no log")

    def size_bytes(self) -> int:
        return 0

    def sync(self) -> None: ...

    def close(self) -> None: ...


def _open_log(files: Files, path: Path) -> File:
    try:
        return files.open(Path(f"{path}-wal"))
    except FileNotFoundError:
        return _NoLog()
