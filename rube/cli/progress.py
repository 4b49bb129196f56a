"""How far long work has come: a bar on a terminal, now and then a line elsewhere; on stderr, stdout is the result's."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

# Where stderr is no terminal.
LINE_INTERVAL_S = 5.0


class ProgressBar:
    """A context in which `update(done, total)` shows how much is done; a total of 0 is unknown."""

    def __init__(self, title: str, unit: str) -> None:
        self._title = title
        self._unit = unit
        self._now_s = asyncio.get_running_loop().time
        self._told_at_s = self._now_s()
        self._rich: RichProgress | None = None
        if sys.stderr.isatty():
            count = DownloadColumn(binary_units=True) if unit == "bytes" else MofNCompleteColumn()
            self._rich = RichProgress(
                TextColumn("{task.description}"),
                *(BarColumn(), TaskProgressColumn(), count),
                TextColumn("" if unit == "bytes" else unit),
                *(TimeElapsedColumn(), TimeRemainingColumn()),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._rich.add_task(title, total=None)

    def __enter__(self) -> ProgressBar:
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._rich is not None:
            self._rich.stop()

    def update(self, done: int, total: int) -> None:
        if self._rich is not None:
            self._rich.update(self._task, completed=done, total=total or None)
        elif self._now_s() - self._told_at_s >= LINE_INTERVAL_S:
            self._told_at_s = self._now_s()
            of = f" of {total}, {min(100, 100 * done // total)}%" if total else ""
            print(f"{self._title}: {done} {self._unit}{of}", file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """A line on stdout, above the bar."""
        if self._rich is not None and sys.stdout.isatty():
            self._rich.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)
