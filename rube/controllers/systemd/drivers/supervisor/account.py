"""A shim's account of its unit: the state that it writes down, the definition that it has read, the request that waits.

The files are for others. The shim itself knows all that is in them, and writes them again should they vanish.
"""

from __future__ import annotations

import os

from rube.controllers.systemd.drivers.supervisor import files
from rube.controllers.systemd.drivers.supervisor.files import FileError
from rube.controllers.systemd.drivers.supervisor.presence import Presence
from rube.controllers.systemd.drivers.supervisor.records import RequestRecord, StateRecord, UnitRecord


class Account:
    """Of the unit that has this directory. What the disk refuses is noted in the shim's own log, and tried again."""

    def __init__(self, directory: str, presence: Presence) -> None:
        self.directory = directory
        self.unit: UnitRecord | None = None
        """The definition as it was last read."""
        self.written: StateRecord | None = None
        """The state as it was last written down."""
        self.is_written = False
        """Whether that is the state as it was last told."""
        self._presence = presence
        self._stamp: tuple[int, int, int] | None = None
        self._noted = ""

    def read_unit(self) -> None:
        """Takes over the definition; raises FileError for one that cannot be read, and keeps the one before."""
        found = files.read(self.directory, UnitRecord)
        if found is not None:
            self.unit = found

    def read_request(self) -> RequestRecord | None:
        try:
            return files.read(self.directory, RequestRecord)
        except FileError as error:
            self.note(f"cannot read the request: {error}")
            return None

    def write(self, state: StateRecord) -> None:
        """Writes the state down, if it is another one."""
        self.is_written = state == self.written
        if self.is_written:
            return
        try:
            files.write(self.directory, state)
        except OSError as error:
            # A full disk, say. The unit goes on, and the next turn tries again.
            self.note(f"cannot write the state: {error}")
        else:
            self.written, self.is_written = state, True
            self._stamp = files.stamp(self.directory, StateRecord.NAME)

    def restore(self) -> None:
        """Looks whether the files are as they were left, and writes those again that are not."""
        try:
            if not self._presence.is_written_down:
                files.make_directory(self.directory)
                self._presence.write_down()
            if self.unit is not None and not self._has_unit():
                files.write(self.directory, self.unit)
        except OSError as error:
            self.note(f"cannot restore the unit's files: {error}")
        if self._stamp != files.stamp(self.directory, StateRecord.NAME):
            self.written = None

    def note(self, line: str) -> None:
        """Into the shim's own log, which may be on the same full disk. The same line again says nothing new."""
        if line == self._noted:
            return
        self._noted = line
        try:
            os.write(1, f"{line}\n".encode())
        except OSError:
            pass

    def _has_unit(self) -> bool:
        try:
            return files.read(self.directory, UnitRecord) is not None
        except FileError as error:
            return error.newer
