"""The remains of a damaged RocksDB directory. Its files are only read: a mend works on a copy."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rube.api.errors import DataLossError, FailedPreconditionError, RubeError
from rube.host.engine import Remains
from rube.store.engines import rocksdb_files as files
from rube.store.engines.acknowledged import read_mark
from rube.store.engines.rocksdb_errors import damaged, in_use, translate
from rube.store.engines.rocksdb_wal import is_sound

if TYPE_CHECKING:
    from rocksdict import Rdict, RdictIter

# The end of the numbers: keys whose first bit is 0.
_END = 1 << 63
_KEY_BYTES = 8
_BEFORE_OTHERS = b"\x80"


class RocksdbWreck:
    """The `rube.host.Wreck` of a directory. A damaged block is lost with all that is in it (about 4 KiB)."""

    def __init__(self, path: Path, db: Rdict, copy: Path | None, findings: list[str]) -> None:
        """`copy` is the directory of the database that is read, if not `path`; it is removed at the end."""
        self._path = path
        self._db = db
        self._copy = copy
        self._findings = findings
        self._holes: list[tuple[int, int]] = []

    @classmethod
    def open(cls, path: Path) -> RocksdbWreck:
        """Raises FailedPreconditionError if there is no store, or a process has it open."""
        path = files.place_of(path)
        if not path.is_dir() or (not any(path.glob("*.sst")) and not any(path.glob("*.log"))):
            raise FailedPreconditionError(f"there is no store at {path}: check the path")
        findings: list[str] = []
        copy: Path | None = None
        try:
            _check_current(path)
            db = _open(path)
        except RubeError as error:
            if not isinstance(error, DataLossError):
                raise
            findings.append(error.message.partition(": `rube")[0])
            copy = _copied(path)
            try:
                db = _mended(copy)
            except BaseException:
                shutil.rmtree(copy, ignore_errors=True)
                raise
        _note_lost_commits(path, db, findings)
        findings += [
            f"{log.name} is damaged: writes in it are lost, perhaps some that leave no gap in the revisions"
            for log in files.logs_of(path)
            if not is_sound(log.read_bytes())
        ]
        return cls(path, db, copy, findings)

    def log(self) -> Iterator[Remains]:
        cursor, start = self._db.iter(), 0
        while start < _END:
            cursor.seek(start.to_bytes(_KEY_BYTES, "big"))
            while cursor.valid() and (key := cursor.key()) < _BEFORE_OTHERS:
                if len(key) == _KEY_BYTES:
                    start = int.from_bytes(key, "big") + 1
                    yield Remains(start - 1, cursor.value(), True)
                cursor.next()
            if cursor.valid() or (why := _trouble(cursor)) is None:
                return
            self._note(why)
            cursor = self._db.iter()  # a cursor that met damage does not move again
            end = _readable_from(cursor, start)
            if (start, end) not in self._holes:
                self._holes.append((start, end))
            start = end

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception:  # whatever the error is, nothing can be read
            return None
        return value

    def read(self, number: int) -> list[bytes]:
        value = self.get(number.to_bytes(_KEY_BYTES, "big"))
        return [] if value is None else [value]

    def holes(self) -> list[tuple[int, int]]:
        return self._holes

    def findings(self) -> list[str]:
        return self._findings

    async def close(self) -> None:
        self._db.close()
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)

    def _note(self, finding: str) -> None:
        if finding not in self._findings:
            self._findings.append(finding)


def _open(path: Path) -> Rdict:
    """Opens the database past damage in its log."""
    from rocksdict import AccessType, DBRecoveryMode, Rdict

    _check_unused(path)
    try:
        return Rdict(
            str(path),
            files.options(path, DBRecoveryMode.skip_any_corrupted_record()),
            access_type=AccessType.read_only(False),
        )
    except Exception as error:
        raise translate(error, path, opening=True) from error


def _check_current(path: Path) -> None:
    """Raises DataLossError if the file that names the newest manifest is gone: RocksDB would find no rows at all."""
    if not (path / "CURRENT").exists():
        raise damaged(path, f"{path / 'CURRENT'} is not there")


def _check_unused(path: Path) -> None:
    """Raises FailedPreconditionError while a process writes to it: its new writes would count as lost."""
    import fcntl

    try:
        fd = os.open(path / "LOCK", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise in_use(path) from error
    finally:
        os.close(fd)


def _copied(path: Path) -> Path:
    """Copies the files to a directory beside it; tables, which do not change, as links if possible."""
    copy = Path(tempfile.mkdtemp(prefix=f"{path.name}.salvage-", dir=path.parent))
    for name in sorted(os.listdir(path)):
        if name.endswith(".sst"):
            try:
                os.link(path / name, copy / name)
                continue
            except OSError:
                pass
        if name != "LOCK" and (path / name).is_file():
            shutil.copyfile(path / name, copy / name)
    return copy


def _mended(copy: Path) -> Rdict:
    """Opens a copy that RocksDB has repaired as far as it can."""
    from rocksdict import DBRecoveryMode, Rdict

    try:
        Rdict.repair(str(copy), files.options(copy, DBRecoveryMode.skip_any_corrupted_record()))
    except Exception as error:
        raise translate(error, copy) from error
    return _open(copy)


def _note_lost_commits(path: Path, db: Rdict, findings: list[str]) -> None:
    try:
        fd = os.open(path / files.MARK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        mark = read_mark(fd)
    finally:
        os.close(fd)
    if mark is not None and db.latest_sequence_number() < mark.sequence:
        findings.append(
            f"{mark.sequence} writes were acknowledged, and the log ends after {db.latest_sequence_number()}"
        )


def _trouble(cursor: RdictIter) -> str | None:
    """Returns the error that ended an iterator; None if it has reached the end."""
    try:
        cursor.status()
    except Exception as error:
        return " ".join(str(error).split())
    return None


def _readable_from(cursor: RdictIter, start: int) -> int:
    """Returns about the first number after `start` from which the database can be read again; the end if there is
    none."""
    bad, step = start, 1
    while (good := min(bad + step, _END)) < _END and not _is_readable(cursor, good):
        bad, step = good, step * 2
    while good - bad > 1:
        middle = (good + bad) // 2
        if _is_readable(cursor, middle):
            good = middle
        else:
            bad = middle
    return good


def _is_readable(cursor: RdictIter, number: int) -> bool:
    cursor.seek(number.to_bytes(_KEY_BYTES, "big"))
    return bool(cursor.valid()) or _trouble(cursor) is None
