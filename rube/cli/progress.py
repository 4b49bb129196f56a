"""The progress of long work, on stderr, since stdout is for the result.

A bar if that is a terminal and the package rich is installed, otherwise a line every few seconds.
"""

from __future__ import annotations

import sys
import time  # noqa: TID251 (when to tell; nothing rests on it)
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_INTERVAL_S = 5.0
"""The interval of lines if stderr is no terminal."""


class ProgressBar:
    """A context in which `update(done, total)` shows how much is done; a total of 0 is unknown."""

    def __init__(self, title: str, unit: str) -> None:
        self._title = title
        self._unit = unit
        self._told_at_s = time.monotonic()
        self._bar = _bar(unit) if sys.stderr is not None and sys.stderr.isatty() and find_spec("rich") else None
        self._task = self._bar.add_task(title, total=None) if self._bar is not None else None

    def __enter__(self) -> ProgressBar:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, total: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total or None)
        elif sys.stderr is not None and time.monotonic() - self._told_at_s >= LINE_INTERVAL_S:
            self._told_at_s = time.monotonic()
            of = f" of {total}, {min(100, 100 * done // total)}%" if total else ""
            print(f"{self._title}: {done} {self._unit}{of}", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """A line on stdout, above the bar."""
        if self._bar is not None and sys.stdout.isatty():
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)


def _bar(unit: str) -> Progress:
    # Imported here: it takes a tenth of a second, and only a terminal needs it.
    from rich import progress
    from rich.console import Console

    of_bytes = unit == "bytes"
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.DownloadColumn(binary_units=True) if of_bytes else progress.MofNCompleteColumn(),
        progress.TextColumn("" if of_bytes else unit),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
