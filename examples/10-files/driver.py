"""The driver of files: rube.controllers.driver.Driver, on a port to a directory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from files_pb2 import File, FileAction, FileObservation, FileRecord
from google.protobuf.any_pb2 import Any

from rube.api import Action, LogsRequest, LogsResponse
from rube.api.errors import FailedPreconditionError
from rube.api.types import pack
from rube.host import Clock

RECORDS, FILES = "file-records", "files"
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_MODE = re.compile(r"0[0-7]{3}")
POLL_S = 2.0
"""Files that a user has changed by hand are noticed after so long."""


class Entry(NamedTuple):
    content: bytes
    mode: str


class Directory(Protocol):
    """The machine, as far as the driver needs it. A call is atomic, and durable when it returns. Raises a RubeError."""

    async def names(self, folder: str) -> Sequence[str]:
        """Returns the files in a folder, sorted; none if there is no such folder."""
        ...

    async def read(self, path: str) -> Entry | None: ...

    async def write(self, path: str, entry: Entry) -> None:
        """Writes or replaces a file, with the folders that it is in."""
        ...

    async def remove(self, path: str) -> None:
        """Removes a file; nothing if it is not there."""
        ...


class FileDriver:
    """Writes files, and remembers in a record of each thing which file it is and for which object.

    The record is written before the file and removed after it. So whatever is on the disk after a kill has a record,
    and `list` names it.
    """

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    async def list(self) -> Sequence[str]:
        return await self._directory.names(RECORDS)

    async def observe(self, name: str) -> Any:
        return pack(await self._seen(name))

    async def apply(self, action: Action) -> bool:
        asked = FileAction.FromString(action.action.value)
        if asked.remove:
            await self._remove(asked.name)
        else:
            await self._write(asked.name, asked.write.file, asked.write.uid)
        return False

    async def changes(self) -> AsyncIterator[str]:
        known = {name: await self._seen(name) for name in await self.list()}
        while True:
            await self._clock.sleep(POLL_S)
            seen = {name: await self._seen(name) for name in await self.list()}
            for name in sorted(known.keys() | seen.keys()):
                if known.get(name) != seen.get(name):
                    yield name
            known = seen

    async def logs(self, name: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        yield LogsResponse()  # a file says nothing

    async def close(self) -> None: ...

    async def _seen(self, name: str) -> FileObservation:
        record = await self._record(name)
        if record is None:
            return FileObservation()
        seen = FileObservation(uid=record.uid)
        if (entry := await self._directory.read(f"{FILES}/{record.path}")) is not None:
            seen.file.CopyFrom(File(path=record.path, content=entry.content, mode=entry.mode))
        return seen

    async def _write(self, name: str, file: File, uid: str) -> None:
        _check(file)
        record = await self._record(name)
        if record is not None and record.path != file.path:
            await self._directory.remove(f"{FILES}/{record.path}")
        if record is None or record.path != file.path:
            await self._check_free(name, file.path)
        made = FileRecord(uid=uid, path=file.path)
        if record != made:
            await self._directory.write(f"{RECORDS}/{name}", Entry(made.SerializeToString(deterministic=True), "0600"))
        await self._directory.write(f"{FILES}/{file.path}", Entry(file.content, file.mode))

    async def _remove(self, name: str) -> None:
        if (record := await self._record(name)) is not None:
            await self._directory.remove(f"{FILES}/{record.path}")
            await self._directory.remove(f"{RECORDS}/{name}")

    async def _check_free(self, name: str, path: str) -> None:
        """Raises FailedPreconditionError for a path that another thing has, or that was there before."""
        for other in await self.list():
            record = await self._record(other)
            if other != name and record is not None and record.path == path:
                raise FailedPreconditionError(f"{path} is the file of {other}: give one of the two another path")
        if await self._directory.read(f"{FILES}/{path}") is not None:
            raise FailedPreconditionError(f"{path} is there already, and was not made by Rube: move it away")

    async def _record(self, name: str) -> FileRecord | None:
        entry = await self._directory.read(f"{RECORDS}/{name}")
        return None if entry is None else FileRecord.FromString(entry.content)


def _check(file: File) -> None:
    """Raises FailedPreconditionError for a path that leads elsewhere, and for what are no permissions."""
    if not _PATH.fullmatch(file.path):
        raise FailedPreconditionError(
            f"path {file.path!r} is not taken: use names of letters, digits, '.', '_' and '-', none beginning with '.' "
            "or '-', joined by '/'"
        )
    if not _MODE.fullmatch(file.mode):
        raise FailedPreconditionError(f"mode {file.mode!r} is no permissions: use three octal digits, such as 0644")
