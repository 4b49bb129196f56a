"""A shim's account of its unit: the recorded state, the definition that it has read, the waiting request.

The files are for others. The shim itself holds everything in them, and writes them again should they vanish.
"""

from __future__ import annotations

import os

from rube.units.drivers.supervisor import files
from rube.units.drivers.supervisor.files import FileError
from rube.units.drivers.supervisor.presence import Presence
from rube.units.drivers.supervisor.records import RequestRecord, StateRecord, UnitRecord

NOTED_BYTES_MAX = 64 * 1024
"""The most bytes of a note in the shim's own log."""


class Account:
    """The account of the unit that has this directory. The shim's own log notes errors of the disk, and the write is
    tried again."""

    def __init__(self, directory: str, presence: Presence) -> None:
        self.directory = directory
        self.unit: UnitRecord | None = None
        """The definition that is in effect."""
        self.written: StateRecord | None = None
        """The state as it was last written down."""
        self.is_written = False
        """True if that is the state as it was last told."""
        self._presence = presence
        self._latest: UnitRecord | None = None
        """The definition as it was last seen, which takes effect when the service is next started."""
        self._unit_stamp: tuple[int, int, int] | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._noted = ""
        self._noted_bytes = 0

    def read_unit(self) -> None:
        """Puts the definition into effect. Raises FileError for one that cannot be read and was not seen before."""
        try:
            self._see_unit()
        except FileError:
            if self._latest is None:
                raise
        self.unit = self._latest

    def read_request(self) -> RequestRecord | None:
        try:
            return files.read(self.directory, RequestRecord)
        except FileError as error:
            self.note(f"cannot read the request: {error}")
            return None

    def write(self, state: StateRecord) -> None:
        """Writes the state, if it has changed."""
        self.is_written = state == self.written
        if self.is_written:
            return
        try:
            files.write(self.directory, state)
        except OSError as error:
            # A full disk, for example. The unit goes on, and the next turn tries again.
            self.note(f"cannot write the state: {error}")
        else:
            self.written, self.is_written = state, True
            self._stamp = files.stamp(self.directory, StateRecord.NAME)

    def restore(self) -> None:
        """Checks whether the files are as they were left, and writes changed ones again."""
        try:
            if not self._presence.is_written_down:
                files.make_directory(self.directory)
                self._presence.write_down()
            if not self._has_unit() and self._latest is not None:
                files.write(self.directory, self._latest)
        except OSError as error:
            self.note(f"cannot restore the unit's files: {error}")
        if self._stamp != files.stamp(self.directory, StateRecord.NAME):
            self.written = None

    def note(self, line: str) -> None:
        """Writes a line into the shim's own log, which may be on the same full disk, unless it repeats the last one."""
        if line == self._noted or self._noted_bytes > NOTED_BYTES_MAX:
            return
        self._noted = line
        self._noted_bytes += len(line)
        try:
            os.write(1, f"{line}\n".encode())
        except OSError:
            pass

    def _has_unit(self) -> bool:
        """Returns whether there is a definition that can be read, if only by a later release."""
        try:
            self._see_unit()
        except FileError as error:
            return error.newer
        return self._unit_stamp is not None

    def _see_unit(self) -> None:
        stamp = files.stamp(self.directory, UnitRecord.NAME)
        if stamp != self._unit_stamp:
            found = files.read(self.directory, UnitRecord)
            self._latest, self._unit_stamp = found or self._latest, stamp
