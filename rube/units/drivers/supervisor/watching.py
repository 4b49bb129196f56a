"""Notices changes of units' files, their removal and the release of their lock: from the kernel, without a period."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Iterator

from inotify_simple import INotify, flags

from rube.host import Clock
from rube.units.drivers.supervisor import files, presence
from rube.units.drivers.supervisor.records import StateRecord, UnitRecord

_LOG = logging.getLogger("rube.controllers")
POLL_S = 1.0
"""The pause between two looks where the kernel lends no watches."""
_FILES = frozenset({UnitRecord.NAME, StateRecord.NAME, files.LOCK})
_IN_UNITS = flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.DELETE_SELF | flags.MOVE_SELF
_IN_UNIT = flags.CLOSE_WRITE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.DELETE_SELF | flags.MOVE_SELF
_GONE = flags.IGNORED | flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT

Stamps = dict[str, tuple[object, ...]]


class UnitsWatch:
    """Watches the directory of units `directory`, which it makes, and each unit's own.

    A shim that dies releases `lock`, which it had open for writing: that is an event like a write.
    """

    def __init__(self, directory: str, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._inotify: INotify | None = None
        self._names: dict[int, str] = {}
        self._stamps: Stamps = {}
        self._wake = asyncio.Event()
        self._root = -1

    def open(self) -> None:
        """Notices changes from now on. Raises OSError if the directory cannot be made."""
        files.make_directory(self._directory)
        try:
            self._inotify = INotify(nonblocking=True)
            asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._wake.set)
            self._watch_all()
        except OSError as error:
            self._fall_back(error)

    def close(self) -> None:
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()
            self._inotify = None

    async def changes(self) -> set[str]:
        """Waits for changes and returns the units' names."""
        while True:
            if self._inotify is None:
                await self._clock.sleep(POLL_S)
                found = self._changed_stamps()
            else:
                await self._wake.wait()
                self._wake.clear()
                try:
                    found = self._read(self._inotify)
                except OSError as error:
                    self._fall_back(error)
                    continue
            if found:
                return found

    # inotify

    def _read(self, inotify: INotify) -> set[str]:
        found: set[str] = set()
        again = False
        for event in inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW or (event.wd == self._root and event.mask & _GONE):
                again = True
                found.update(self._names.values())
            elif event.wd == self._root:
                found.add(event.name)
                again = True
            elif event.wd in self._names:
                if event.mask & _GONE or event.name in _FILES:
                    found.add(self._names[event.wd])
                if event.mask & flags.IGNORED:
                    del self._names[event.wd]
        if again:
            found |= self._watch_all()
        return found

    def _watch_all(self) -> set[str]:
        """Watches every directory that is there; returns those that were not watched, and may have had changes."""
        assert self._inotify is not None
        files.make_directory(self._directory)
        self._root = self._inotify.add_watch(self._directory, _IN_UNITS | flags.ONLYDIR)
        new: set[str] = set()
        for name in _directories(self._directory):
            try:
                watch = self._inotify.add_watch(os.path.join(self._directory, name), _IN_UNIT | flags.ONLYDIR)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):  # it has just gone
                    continue
                raise
            if self._names.get(watch) != name:
                self._names[watch] = name
                new.add(name)
        return new

    # Without it

    def _fall_back(self, error: OSError) -> None:
        _LOG.warning(
            "the kernel gives no watch on %s (%s), so it is polled every %.0f s: raise fs.inotify.max_user_watches "
            "or fs.inotify.max_user_instances (sysctl)",
            self._directory,
            error.strerror,
            POLL_S,
        )
        self.close()
        self._stamps = dict(self._take_stamps())

    def _changed_stamps(self) -> set[str]:
        now = dict(self._take_stamps())
        changed = {name for name in now.keys() | self._stamps.keys() if now.get(name) != self._stamps.get(name)}
        self._stamps = now
        return changed

    def _take_stamps(self) -> Iterator[tuple[str, tuple[object, ...]]]:
        for name in _directories(self._directory):
            path = os.path.join(self._directory, name)
            # A shim that is killed changes no file.
            yield name, (*(files.stamp(path, file) for file in sorted(_FILES)), presence.is_alive(path))


def _directories(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []
