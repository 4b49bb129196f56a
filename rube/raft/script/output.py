"""The output of a script: gathered, indented, and silent below its log level."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE")
"""In etcd's order. The core's notes are INFO; NONE silences the driver, too."""
_LOG_PREFIXES = tuple(f"{level} " for level in LOG_LEVELS)


class Output:
    """The text that one directive prints."""

    def __init__(self) -> None:
        self.level = LOG_LEVELS[0]
        self._parts: list[str] = []

    @property
    def quiet(self) -> bool:
        """True if only errors are printed."""
        return self.level == "NONE"

    def write(self, text: str) -> None:
        """Adds the text, unless quiet."""
        if not self.quiet:
            self._parts.append(text)

    def line(self, text: str) -> None:
        """Adds the text and a line end, unless quiet."""
        self.write(text + "\n")

    def note(self, text: str) -> None:
        """Adds a line of a core's own log."""
        if LOG_LEVELS.index(self.level) <= LOG_LEVELS.index("INFO"):
            self.line(f"INFO {text}")

    def take(self) -> str:
        """Returns what was written since the last call."""
        text, self._parts = "".join(self._parts), []
        return text

    @contextmanager
    def indented(self) -> Iterator[None]:
        """Indents what is written inside by two columns, in whole lines."""
        outer, self._parts = self._parts, []
        try:
            yield
        finally:
            lines = self.take().removesuffix("\n").split("\n")
            self._parts = outer + [f"  {line}\n" for line in lines if lines != [""]]


def without_log_lines(output: str) -> str:
    """Returns the output without the lines of a core's own log, whose wording differs between implementations; `ok` if
    none is left."""
    lines = [line for line in output.split("\n") if not line.lstrip().startswith(_LOG_PREFIXES)]
    return "\n".join(lines) if any(lines) else "ok\n"
