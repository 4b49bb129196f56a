"""The files of a simulated disk by their paths, and which of them their directories durably hold."""

from __future__ import annotations

import random  # noqa: TID251 (a type; the generator is the world's)

from rube.sim.world.disk.log import LogContent
from rube.sim.world.disk.pages import PageContent


class Names:
    """The files by path. A log is durable under its name at once; a file of pages once its directory is synced."""

    def __init__(self) -> None:
        self._files: dict[str, LogContent | PageContent] = {}
        # The files of pages that the directory durably has under that name (None: nothing), where `_files` has another.
        self._durable: dict[str, PageContent | None] = {}
        # How many files there ever were.
        self._made = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, in the order of their names."""
        return tuple(sorted(self._files))

    @property
    def used_bytes(self) -> int:
        return sum(len(content.data) for content in self._files.values())

    def get(self, path: str) -> LogContent | PageContent | None:
        return self._files.get(path)

    def durable(self, path: str) -> LogContent | PageContent | None:
        """Returns the file that the directory durably has under that name."""
        return self._durable[path] if path in self._durable else self._files.get(path)

    def opened(self, path: str) -> LogContent | PageContent:
        """Returns the file; a new log if there is none."""
        if path not in self._files:
            self._made += 1
            self._files[path] = LogContent(self._made)
        return self._files[path]

    def new_pages(self) -> PageContent:
        """Returns an empty file of pages, which has no name yet."""
        self._made += 1
        return PageContent(self._made)

    def rename(self, path: str, now: PageContent | None) -> None:
        """Lets the name mean another file, or none, and notes what the directory durably has."""
        before = self._files.get(path)
        if self._durable.setdefault(path, before if isinstance(before, PageContent) else None) is now:
            del self._durable[path]
        if now is None:
            del self._files[path]
        else:
            self._files[path] = now

    def delete(self, path: str) -> None:
        """Deletes the file from the disk, durably."""
        del self._files[path]
        self._durable.pop(path, None)

    def pages_in(self, directory: str) -> dict[str, PageContent]:
        """Returns the files of pages of a directory, as a sync of it finds them when it begins."""
        return {
            path: content
            for path, content in self._files.items()
            if isinstance(content, PageContent) and _directory_of(path) == directory
        }

    def synced(self, directory: str, found: dict[str, PageContent]) -> None:
        """Ends a sync of a directory, which found these files."""
        now = self.pages_in(directory)
        known = [name for name in self._durable if _directory_of(name) == directory]
        for name in sorted({*found, *now, *known}):
            if found.get(name) is now.get(name):
                self._durable.pop(name, None)
            else:
                self._durable[name] = found.get(name)

    def lose_power(self, chance: random.Random, *, tear: bool) -> list[str]:
        """Lets files that were created or removed since their directory was synced be there again, or not. Returns
        those names that have changed."""
        lost = []
        for path in sorted(self._durable):
            before = self._durable.pop(path)
            if tear and chance.random() < 0.5:
                continue
            self._files.pop(path, None)
            if before is not None:
                self._files[path] = before
            lost.append(path)
        return lost


def _directory_of(path: str) -> str:
    return path.rpartition("/")[0]
