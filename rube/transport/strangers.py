"""The log lines that any caller may cause: counted, and one line an interval."""

from __future__ import annotations

import asyncio
import logging

INTERVAL_S = 10.0
TEXT_CHARS_MAX = 300


class Strangers:
    """The lines of one server, by kind; `kind` comes from a bounded set, such as the server's methods.

    The first of a kind is logged at once. Further ones within the interval are counted, and the next line says how many
    they were; `tell_rest` logs the last count.
    """

    def __init__(self, log: logging.Logger, interval_s: float = INTERVAL_S) -> None:
        self._log = log
        self._interval_s = interval_s
        self._next_s: dict[str, float] = {}
        self._untold: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        """How often each kind has come."""

    def tell(self, kind: str, text: str, *, level: int = logging.WARNING, error: Exception | None = None) -> None:
        """Logs the text, with the error's traceback if there is one, unless this kind was logged within the
        interval."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        now_s = asyncio.get_running_loop().time()
        if now_s < self._next_s.get(kind, now_s):
            self._untold[kind] = self._untold.get(kind, 0) + 1
            return
        self._next_s[kind] = now_s + self._interval_s
        untold = self._untold.pop(kind, 0)
        more = f" ({untold} more like it were not logged)" if untold else ""
        self._log.log(level, "%s: %s%s", kind, _cut(text), more, exc_info=error)

    def tell_rest(self) -> None:
        """Logs how many lines were left out, each kind in one line."""
        for kind, untold in self._untold.items():
            self._log.warning("%s: %d more like it were not logged", kind, untold)
        self._untold.clear()


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TEXT_CHARS_MAX else line[:TEXT_CHARS_MAX] + "…"
