"""Unit files on disk, known by their marker, and the last action carried out on each."""

from __future__ import annotations

import os

from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.units.drivers.disk import disk_errors
from rube.units.render import MARKER_BYTES_MAX, Marker, parse_marker

ACTION_BYTES_MAX = 1024
_LINK_DIRECTORIES = (".wants", ".requires", ".upholds")


class UnitFiles:
    """The files of one unit directory. `state_directory` holds a small file for each unit beside it."""

    def __init__(self, directory: str, state_directory: str) -> None:
        self._directory = os.path.abspath(directory)
        self._state = os.path.abspath(state_directory)

    def names(self) -> list[str]:
        """Returns the units whose file has Rube's marker, sorted."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if name.endswith(".service") and self.marker(name) is not None)

    def marker(self, name: str) -> Marker | None:
        """Returns the marker of a unit's file; None if there is no file or it is not Rube's."""
        try:
            with open(self._path(name), encoding="utf-8", errors="replace") as file:
                return parse_marker(file.read(MARKER_BYTES_MAX))
        except OSError:
            return None

    def write(self, name: str, text: str) -> bool:
        """Replaces the file durably; returns whether it changed.

        Raises FailedPreconditionError if a file of that name is not Rube's, or cannot be written.
        """
        path = self._path(name)
        try:
            with open(path, encoding="utf-8", errors="replace", newline="") as file:
                present = file.read()
        except FileNotFoundError:
            present = None
        if present == text:
            return False
        is_ours = present is None or parse_marker(present) is not None
        if not is_ours or os.path.islink(path):  # a link: it is masked, or kept elsewhere
            raise FailedPreconditionError(f"{path} was not made by Rube: move it away, or rename the object")
        self._replace(path, text)
        return True

    def remove(self, name: str) -> bool:
        """Deletes the file, if it is Rube's, and the links that enable it; returns whether there was one."""
        if self.marker(name) is None:
            return False
        with disk_errors(f"cannot remove {name}"):
            for path in self._links(name):
                os.unlink(path)
            os.unlink(self._path(name))
        return True

    def last_action(self, name: str) -> str:
        try:
            with open(self._action_path(name), encoding="utf-8") as file:
                return file.read(ACTION_BYTES_MAX)
        except FileNotFoundError:
            return ""

    def note_action(self, name: str, action_id: str) -> None:
        """Remembers the action; an empty id forgets."""
        if action_id:
            self._replace(self._action_path(name), action_id)
        else:
            try:
                os.unlink(self._action_path(name))
            except FileNotFoundError:
                pass

    def _links(self, name: str) -> list[str]:
        """Returns the links to a unit's file that enabling it made: aliases, and those of units that want or require
        it."""
        with os.scandir(self._directory) as entries:
            found = list(entries)
        for entry in tuple(found):
            if entry.name.endswith(_LINK_DIRECTORIES) and entry.is_dir(follow_symlinks=False):
                with os.scandir(entry.path) as entries:
                    found += entries
        links = [entry.path for entry in found if entry.is_symlink()]
        return sorted(path for path in links if os.path.basename(os.readlink(path)) == name)

    def _path(self, name: str) -> str:
        if "/" in name or not name.endswith(".service") or name.startswith("."):
            raise InvalidArgumentError(f"{name!r} is no service's name", field="unit")
        return os.path.join(self._directory, name)

    def _action_path(self, name: str) -> str:
        return os.path.join(self._state, f"{os.path.basename(self._path(name))}.action")

    def _replace(self, path: str, text: str) -> None:
        directory = os.path.dirname(path)
        temporary = f"{path}.rube-new"
        data = text.encode()  # first, so that text that cannot be encoded leaves no file behind
        with disk_errors(f"cannot write {path}"):
            os.makedirs(directory, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
